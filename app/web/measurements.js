// The measurements of the tile's cells: titles and units, how each is spread over the cells, and which values are unusual.

import { html, number } from "./dom.js";

const EDGE = 0.025;
// Among fewer cells, the first 2.5% are less than one cell.
const FEWEST = 40;
// Of a normal distribution, 10% lie more than so many standard deviations above the median.
const TENTH = 0.1;
const TENTH_IN_SD = 1.2816;

/**
 * Return the measurements of an answer, in its order, each with what is needed to judge a value: the limits between which
 * 95% of the counted cells lie (null where there are too few), their median, and robust standard deviations below and above
 * it, which differ where a few values are much larger than most. `key` is the same for every scale, and `name` is that of
 * this answer.
 */
export function measurementsOf({ measurements, cells }) {
  const names = Object.keys(cells.find((cell) => cell.measurements)?.measurements ?? {});
  const given = new Map((measurements ?? []).map((one) => [one.measurement, one]));
  const counted = cells.filter(({ outlier }) => !outlier);
  return names.map((name) => ({ ...(given.get(name) ?? untitled(name)), name, key: keyOf(name), ...spread(measured(counted, name)) }));
}

/** Return the name of a measurement without its unit, which is px where the scale of the tile is not known. */
export const keyOf = (name) => name.replace(/_(um2?|px)$/, "");

const untitled = (name) => ({ title: name.replaceAll("_", " "), unit: "", group: null, reference: null });

/** Return the values of those cells in which it was measured, in ascending order. */
export const measured = (cells, name) =>
  Float64Array.from(cells.map((cell) => valueOf(cell, name)).filter((value) => value !== null)).sort();

export const valueOf = (cell, name) => cell.measurements?.[name] ?? null;

/** Return a quantile of values in ascending order, between two of them where it falls there; null if there is no value. */
export function quantile(sorted, share) {
  if (sorted.length === 0) return null;
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)];
  return below + (at % 1) * (sorted[Math.ceil(at)] - below);
}

function spread(sorted) {
  const median = quantile(sorted, 0.5);
  const [tenth, ninth] = [quantile(sorted, TENTH), quantile(sorted, 1 - TENTH)];
  const isMany = sorted.length >= FEWEST;
  return {
    median,
    quartiles: [quantile(sorted, 0.25), quantile(sorted, 0.75)],
    low: isMany ? quantile(sorted, EDGE) : null,
    high: isMany ? quantile(sorted, 1 - EDGE) : null,
    below: (median - tenth) / TENTH_IN_SD,
    above: (ninth - median) / TENTH_IN_SD,
    digits: sorted.every(Number.isInteger) ? 0 : Math.max(digitsFor(Math.max(Math.abs(tenth), Math.abs(ninth))), digitsFor(10 * (ninth - tenth))),
  };
}

/** Return after how many decimals a number has three digits that count, but no more than four. */
const digitsFor = (value) => Math.min(4, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1))));

/** Return "low" or "high" for a value outside the limits of 95% of the tile's cells, or else null. */
export function unusual({ low, high }, value) {
  if (value === null || low === null) return null;
  if (value < low) return "low";
  return value > high ? "high" : null;
}

/** Return how many of a cell's measurements are unusual, in a sentence. */
export function inWords(cell, measurements) {
  const known = measurements.filter((one) => one.low !== null && valueOf(cell, one.name) !== null);
  const n = known.filter((one) => unusual(one, valueOf(cell, one.name))).length;
  if (known.length === 0) return "The tile has too few measured cells to say what is unusual.";
  if (n === 0) return "All measurements are within those of 95% of the tile's cells.";
  return `${n} of ${known.length} measurements are outside those of 95% of the tile's cells: ${ARROWS.low} low, ${ARROWS.high} high.`;
}

const ARROWS = { low: "▼", high: "▲" };

/** Return the mark of an unusual value, for the eye and in words; null for any other value. */
export const marked = (kind) =>
  kind && [html("span", { class: "arrow", "aria-hidden": "true" }, ARROWS[kind]), html("span", { class: "visually-hidden" }, `unusually ${kind} `)];

/** Return a unit as people write it: "um2" is µm². */
export const unitText = (unit) =>
  (unit ?? "").replace(/^count$/, "").replace("od", "OD").replace("um", "µm").replace("_per_", "/").replace(/2$/, "²");

/** Return a title with its unit, as for a column. */
export const headingOf = ({ title, unit }) => (unitText(unit) ? `${title} (${unitText(unit)})` : title);

/** Return a value with its unit. */
export const withUnit = ({ unit, digits }, value) => [number(value, digits), unitText(unit)].filter(Boolean).join(" ");

/** Return a number with three digits that count, for measurements whose spread is not known here. */
export const significant = (value) => number(value, value === null ? 0 : digitsFor(value));

/** Return why a cell lacks a measurement, in words. */
export const whyNot = (cell, name) => `not measured: ${(cell.not_measured?.[name] ?? "unknown reason").replaceAll("_", " ")}`;

/** Return the measurements by group, as a list of [group, measurements]. */
export const grouped = (measurements) => [...Map.groupBy(measurements, ({ group }) => capital(group ?? "measurements"))];

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1).replaceAll("_", " ");

/**
 * Return how far a cell is from the tile's median: the mean over its measurements, each in robust standard deviations. It is
 * null where fewer than half were measured, such as in a nucleus that the border cuts.
 */
export function distance(cell, measurements) {
  const all = measurements.map((one) => deviation(cell, one)).filter((value) => value !== null);
  if (all.length === 0 || 2 * all.length < measurements.length) return null;
  return all.reduce((sum, value) => sum + Math.abs(value), 0) / all.length;
}

/** Return by how many robust standard deviations a cell's value is above the tile's median; null where that is not known. */
export function deviation(cell, { name, median, below, above }) {
  const value = valueOf(cell, name);
  const sd = value < median ? below : above;
  return value === null || sd === 0 ? null : (value - median) / sd;
}
