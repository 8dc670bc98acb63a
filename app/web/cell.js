// The panel of one cell: what it looks like, its cluster, and how certain the network Q is.

import { byId, clusterName, html, percent, swatch } from "./dom.js";
import { crop } from "./picture.js";

const SHOWN_PX = 80;

/** Show a cell in the corner of the view that is farther from it. Without a cell, hide the panel. */
export function showCell(cell, { answer, canvas, side }, isRight = false) {
  const panel = byId("cell");
  panel.hidden = cell === null;
  if (cell === null) return;
  panel.classList.toggle("aside", isRight);
  const { color } = answer.clusters[cell.cluster];
  panel.replaceChildren(
    html("h3", { class: "words" }, cell.outlier ? swatch("", "outlier") : swatch(color), `Cell ${cell.id}: ${kind(cell, answer)}`),
    crop(canvas, cell, side, SHOWN_PX),
    html(
      "table",
      { class: "bars" },
      answer.clusters.map(({ cluster, color: own }) => row(cluster, cell.probabilities[cluster], own)),
    ),
    html("p", { class: "hint words" }, facts(cell)),
  );
}

const kind = (cell, { clusters }) => (cell.outlier ? "outlier" : clusterName(clusters[cell.cluster]).toLowerCase());

const facts = (cell) =>
  [
    `${cell.area_px} px²`,
    cell.touches_border ? "cut by the tile's border" : null,
    cell.outlier ? `unlike every training cell and not counted; the most similar cluster is ${cell.cluster}` : null,
  ]
    .filter(Boolean)
    .join(", ");

const row = (cluster, probability, color) =>
  html(
    "tr",
    {},
    html("th", { scope: "row" }, String(cluster)),
    html("td", { class: "track" }, html("span", { class: "bar", style: { width: percent(probability, 1), "background-color": color } })),
    html("td", { class: "value" }, percent(probability)),
  );
