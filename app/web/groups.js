// The groups in which the picture draws and hides cells: their types, where the bundle knows some, or their clusters.

import { clusterName, percent } from "./dom.js";

const OUTLIERS = { key: "outlier", name: "Outliers", kind: "outlier" };
const NO_TYPE = { key: "no-type", name: "No type", color: "#ffffff" };

/** Return the cluster that a cell is counted in, or "outlier". */
export const clusterOf = (cell) => (cell.outlier ? "outlier" : String(cell.cluster));

/** Return the groups of an answer by "type" or "cluster", each with its key, name and colour; see `keyBy`. */
export function groupsOf({ types, clusters }, by) {
  if (by === "type" && types) return [...types.map(({ type, color }, i) => ({ key: `type-${i}`, name: type, color })), NO_TYPE, OUTLIERS];
  return [...clusters.map((cluster) => ({ key: String(cluster.cluster), name: clusterName(cluster), color: cluster.color })), OUTLIERS];
}

/** Return a function that gives the key of a cell's group. */
export function keyBy({ types }, by) {
  if (by !== "type" || !types) return clusterOf;
  const keys = new Map(types.map(({ type }, i) => [type, `type-${i}`]));
  return (cell) => (cell.outlier ? OUTLIERS.key : (keys.get(cell.type) ?? NO_TYPE.key));
}

/** Return the name of a cell's type; "no type" if none is probable enough. */
export const typeName = ({ type }) => type ?? "no type";

/** Return the colour of a cell's type. */
export const typeColor = ({ types }, { type }) => types.find((one) => one.type === type)?.color ?? NO_TYPE.color;

/** Return what a cell is, in words: its type, where the bundle knows some, and its cluster. */
export function inWords(cell, { clusters, types }) {
  const cluster = `${cell.outlier ? "outlier" : clusterName(clusters[cell.cluster])}, probability ${percent(cell.probabilities[cell.cluster])}`;
  if (!types) return cluster;
  const sureness = cell.type_corrected ? ", corrected" : ` ${percent(cell.type_probability)}`;
  return `${typeName(cell)}${cell.type === null ? "" : sureness}, ${cluster}`;
}
