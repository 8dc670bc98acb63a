// The plot of the tile among the reference tiles, on the first two principal components of their proportions.

import { byId, html, percent, svg } from "./dom.js";

const WIDTH = 640;
const HEIGHT = 360;
const EDGE = 44;
const MARKS = ["dot", "ring", "cross"];

/** Fill the section. `entries` are all analysed tiles, and `selected` is the one that is shown. */
export function showReference(entries, selected, card) {
  const { groups, mean, axes, explained } = card.manifest.image_level.reference;
  const project = (p) => axes.map((axis) => axis.reduce((sum, weight, k) => sum + weight * (p[k] - mean[k]), 0));
  const known = groups.map((group) => ({ ...group, points: group.proportions.map(project) }));
  const here = selected.answer.label.reference;
  const placed = entries.filter(({ answer }) => answer?.label.reference && answer.bundle.sha256 === card.sha256);
  byId("reference").replaceChildren(
    html("h3", { id: "reference-title" }, "Among the reference tiles"),
    ...(here
      ? [plot(known, placed, selected, explained), html("div", {}, ...inWords(here), legend(known, placed.length > 1))]
      : [html("p", {}, "No cell was counted, so the tile has no place in this plot.")]),
  );
}

const inWords = ({ nearest, groups }) => [
  html("p", {}, `The nearest group of reference tiles: ${nearest}.`),
  html(
    "ul",
    {},
    groups.map(({ name, distance, farther_than: share }) =>
      html("li", {}, `${distance.toFixed(2)} from the mean of ${name}; ${percent(share)} of them are nearer to it.`),
    ),
  ),
];

function plot(groups, placed, selected, explained) {
  const all = [...groups.flatMap(({ points }) => points), ...placed.map(({ answer }) => answer.label.reference.position)];
  const [x, y] = [0, 1].map((axis) => range(all.map((point) => point[axis])));
  // Both axes have one scale, so that distances in the plot are distances between proportions.
  const scale = Math.min((WIDTH - 2 * EDGE) / (x.high - x.low), (HEIGHT - 2 * EDGE) / (y.high - y.low));
  const at = ([px, py]) => [WIDTH / 2 + (px - (x.low + x.high) / 2) * scale, HEIGHT / 2 - (py - (y.low + y.high) / 2) * scale];
  return svg(
    "svg",
    { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Plot of the reference tiles and this tile; the text beside it says the same" },
    svg("rect", { class: "frame", x: 0.5, y: 0.5, width: WIDTH - 1, height: HEIGHT - 1 }),
    groups.map(({ points }, i) => points.map((point) => mark(MARKS[i % MARKS.length], at(point)))),
    placed.map((entry) => mark(entry === selected ? "here" : "other", at(entry.answer.label.reference.position), entry.name)),
    svg("text", { x: WIDTH / 2, y: HEIGHT - 12, "text-anchor": "middle" }, axisTitle(1, explained[0])),
    svg("text", { x: 16, y: HEIGHT / 2, "text-anchor": "middle", transform: `rotate(-90 16 ${HEIGHT / 2})` }, axisTitle(2, explained[1])),
  );
}

const axisTitle = (n, share) => `principal component ${n} (${percent(share)} of variance)`;

function range(values) {
  const low = Math.min(...values);
  return { low, high: Math.max(low + 0.1, ...values) };
}

function mark(kind, [x, y], title) {
  const label = title ? svg("title", {}, title) : null;
  if (kind === "here") return svg("path", { class: "here", d: `M${x} ${y - 10}l10 10-10 10-10-10z` }, label);
  if (kind === "cross") return svg("path", { class: "mark cross", d: `M${x - 3} ${y - 3}l6 6m0-6l-6 6` });
  return svg("circle", { class: `mark ${kind}`, cx: x, cy: y, r: 4 }, label);
}

function legend(groups, hasOthers) {
  const entry = (kind, text) => html("li", {}, svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, mark(kind, [12, 12])), text);
  return html(
    "ul",
    { class: "legend" },
    entry("here", "this tile"),
    hasOthers ? entry("other", "the other tiles above") : null,
    groups.map((group, i) => entry(MARKS[i % MARKS.length], `${group.name} (${group.points.length})`)),
  );
}
