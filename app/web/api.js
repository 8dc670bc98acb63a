// Requests to the service. Their addresses are relative, so that the service may lie below a path of a proxy.

import { byId } from "./dom.js";

const KEY = "marrowscope-api-key";
const PATIENCE = 20;

/** A request that the service refused, with the title and detail of its RFC 9457 problem. */
export class Problem extends Error {
  constructor(status, title, detail, requestId) {
    super(detail);
    Object.assign(this, { status, title, requestId });
  }
}

/** Keep the API key for as long as this tab is open. */
export function watchKey() {
  const field = byId("key");
  field.value = sessionStorage.getItem(KEY) ?? "";
  byId("key-field").hidden = !field.value;
  field.addEventListener("change", () => sessionStorage.setItem(KEY, field.value));
}

/** Fetch. While the service is busy, wait as long as it asks and try again, at most `patience` times. */
export async function ask(path, options = {}, patience = PATIENCE) {
  for (let waited = 0; ; waited++) {
    const response = await attempt(path, options);
    if (response.ok) return response;
    const problem = await problemOf(response);
    const wait = Number(response.headers.get("Retry-After"));
    if (response.status === 503 && wait > 0 && options.method === "POST" && waited < patience) {
      await new Promise((resolve) => setTimeout(resolve, wait * 1000));
      continue;
    }
    if (response.status === 401) {
      byId("key-field").hidden = false;
      byId("key").focus();
    }
    throw problem;
  }
}

async function attempt(path, options) {
  const key = byId("key").value;
  try {
    return await fetch(path, { ...options, headers: { ...(options.headers ?? {}), ...(key && { "X-API-Key": key }) } });
  } catch {
    throw new Problem(0, "No answer", "The service cannot be reached. Is it still running?", null);
  }
}

async function problemOf(response) {
  try {
    const { title, detail, request_id: id } = await response.json();
    return new Problem(response.status, title, detail, id);
  } catch {
    return new Problem(response.status, response.statusText, `The service answered ${response.status}.`, null);
  }
}

/** Post a tile, with the corrected types of its cells if there are some, and return its answer: an object for JSON, a blob for any other format. */
export async function analyse(file, { mpp, bundle, corrections, reviewer, madeOn }, format = "json") {
  const body = new FormData();
  body.append("tile", file, file.name);
  if (corrections) body.append("corrections", JSON.stringify(corrections));
  const corrected = corrections && { cells_sha256: madeOn, ...(reviewer && { reviewer }) };
  const query = new URLSearchParams({ format, ...(mpp && { mpp }), ...(bundle && { bundle }), ...corrected });
  const response = await ask(`analyze?${query}`, { method: "POST", body });
  return format === "json" ? response.json() : response.blob();
}

/** Put a tile into the review, and name its corrected cells there as they were corrected. Returns how many have their name. */
export async function toReview({ file, options, answer }) {
  const { features, ...collection } = JSON.parse(await (await analyse(file, options, "geojson")).text());
  const corrected = features.filter(({ properties }) => properties.measurements["Type corrected"] === 1);
  const bundle = answer.bundle.name;
  const [tile, cells] = [new FormData(), new FormData()];
  tile.append("tile", file, "tile");
  cells.append("cells", new Blob([JSON.stringify({ ...collection, features: corrected })]), "cells.geojson");
  await ask(`reviews/tiles?${new URLSearchParams({ bundle, ...(options.mpp && { mpp: options.mpp }) })}`, { method: "POST", body: tile });
  const named = { tile: answer.tile.sha256, bundle, add_types: true, ...(!hasKey() && { reviewer: answer.corrections.by }) };
  return (await ask(`reviews/import?${new URLSearchParams(named)}`, { method: "POST", body: cells })).json();
}

/** List the bundles, and whether the service runs batches. */
export const bundles = async () => (await ask("bundles")).json();
export const bundleCard = async (name) => (await ask(`bundles/${encodeURIComponent(name)}`)).json();

/** Return the synthetic tile of a bundle as if its file had been chosen. */
export async function sampleTile(name) {
  const response = await ask(`bundles/${encodeURIComponent(name)}/sample`);
  return new File([await response.blob()], "synthetic-sample.png", { type: "image/png" });
}

/** Return a PNG with a grid of n prototypes of a cluster. */
export async function prototypes(bundle, cluster, n, seed) {
  const query = new URLSearchParams({ bundle, n, seed, format: "png" });
  return (await ask(`prototypes/${cluster}?${query}`)).blob();
}

/** List batches, the newest first, or those older than the batch `after`; and whether a batch may name a path. */
export const batches = async (after) => (await ask(`batches${after ? `?after=${after}` : ""}`)).json();
export const batch = async (id) => (await ask(`batches/${id}`)).json();
export const cancelBatch = async (id) => (await ask(`batches/${id}`, { method: "DELETE" })).json();

/** Start a batch with the form of POST /batches. It may be large, so it is not sent again if the service is busy. */
export const startBatch = async (form) => (await ask("batches", { method: "POST", body: form }, 0)).json();

/** Return the address of a file of results, whose `url` is relative to the address of its batch. */
export const resultAddress = (id, url) => new URL(url, new URL(`batches/${id}`, document.baseURI)).href;
export const resultFile = async (id, url) => (await ask(resultAddress(id, url))).blob();
/** Adapt a bundle with the form of POST /bundles. It may be large, so it is not sent again if the service is busy. */
export const adaptBundle = async (form) => (await ask("bundles", { method: "POST", body: form }, 0)).json();
export const reportAddress = (name) => `bundles/${encodeURIComponent(name)}/report`;
export const bundleReport = async (name) => (await ask(reportAddress(name))).blob();
export const hasKey = () => byId("key").value !== "";
