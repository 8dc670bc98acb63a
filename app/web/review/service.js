// What the page of the review asks of the service.

import { ask, hasKey } from "../api.js";
import { byId } from "../dom.js";

/** Names that get no answer for so long are sent again; the service keeps what it was told twice once. */
const ANSWER_MS = 30_000;
/** A classifier that waits for the disk to be emptied would wait in vain; while the service is busy, it waits a little. */
const PATIENCE_TO_TEACH = 3;

/** Return who names cells: nobody where a key says it, or where the field is empty. */
const reviewer = () => (hasKey() ? null : byId("person").value.trim() || null);

/** Return whose names are given now, and of which bundle's cells. */
export const sender = () => ({ bundle: byId("bundle").value, reviewer: reviewer() });

function query(values) {
  const given = Object.entries({ bundle: byId("bundle").value, ...values });
  return new URLSearchParams(given.filter(([, value]) => value !== null && value !== undefined && value !== ""));
}

async function send(path, method, content, patience, signal) {
  const options = { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(content), signal };
  return (await ask(path, options, patience)).json();
}

/** Return how far the review is. */
export const progress = async () => (await ask(`reviews?${query({ reviewer: reviewer() })}`)).json();

/** Return cells to look at: `{kind, cluster, type, seed, skip, n}`, or `{cells}` for cells by their ids. */
export const nextCells = async (wanted) => (await ask(`reviews/next?${query({ ...wanted, reviewer: reviewer() })}`)).json();

/** Return the places of cells in the plot of features. */
export const places = async () => (await ask(`reviews/plot?${query({ reviewer: reviewer() })}`)).json();

/** Name cells of a bundle as a reviewer, `{id, type}` by id, all or none of them, and return how far the review is now. It does not wait for a busy service. */
export const nameCells = ({ bundle, reviewer: by, names }) =>
  send(`reviews?${query({ bundle })}`, "POST", { names: [...names.values()].map(({ id, type }) => ({ cell: id, type })), reviewer: by }, 0, AbortSignal.timeout(ANSWER_MS));

/** Replace the list of types, and return how far the review is now. */
export const setTypes = (types, deleteNames) => send(`reviews/types?${query({ delete_names: deleteNames })}`, "PUT", { types });

/** Put a tile in. Returns the tile, and whether it is new. */
export async function addTile(file, { name, group, mpp }) {
  const body = new FormData();
  body.append("tile", file, "tile");
  const response = await ask(`reviews/tiles?${query({ name, group, mpp })}`, { method: "POST", body });
  return { tile: await response.json(), isNew: response.status === 201 };
}

export const deleteTile = async (sha256) => (await ask(`reviews/tiles/${sha256}`, { method: "DELETE" })).json();
export const deleteReviewer = async (name) => (await ask(`reviews/reviewers/${encodeURIComponent(name)}`, { method: "DELETE" })).json();

/** Return the address of the names of a tile as GeoJSON. */
export const exportAddress = (sha256) => `reviews/export?${query({ tile: sha256 })}`;
export const exported = async (sha256) => (await ask(exportAddress(sha256))).blob();

/** Name the cells of a tile by the classified objects of a GeoJSON file. */
export async function importNames(file, { tile, addTypes }) {
  const body = new FormData();
  body.append("cells", file, "cells.geojson");
  return (await ask(`reviews/import?${query({ tile, add_types: addTypes, reviewer: reviewer() })}`, { method: "POST", body })).json();
}

/** Teach a classifier, and return what was measured. */
export const teach = ({ name, groups, leaveOut }) =>
  send("classifiers", "POST", { name, from: byId("bundle").value || null, groups, leave_out: leaveOut }, PATIENCE_TO_TEACH);
