// The gallery: cells of each cluster in this tile, beside cells that the generator draws.

import { prototypes } from "./api.js";
import { byId, clusterName, html, number, percent, swatch } from "./dom.js";
import { clusterOf } from "./groups.js";
import { significant, unitText } from "./measurements.js";
import { crop } from "./picture.js";

const FIRST = 6;
const CELL_PX = 160;
const NETWORK_PX = 32;
const TELLING = 3;
const MAX_SEED = 2 ** 32;

/** Fill the section. `onCell(cell)` is called with the cell that was clicked. */
export function showGallery({ answer, canvas, side, card }, onCell) {
  byId("gallery").replaceChildren(
    html("h3", { id: "gallery-title" }, "What the clusters look like"),
    html("p", { class: "hint" }, "Cells of this tile, those that are certain first, and prototypes that the generator draws of each cluster."),
    html("div", { class: "clusters" }, answer.clusters.map((cluster) => column(cluster, answer, canvas, side, card, onCell))),
  );
}

function column(cluster, answer, canvas, side, card, onCell) {
  const k = cluster.cluster;
  const own = answer.cells
    .filter((cell) => clusterOf(cell) === String(k))
    .sort((a, b) => b.probabilities[k] - a.probabilities[k]);
  return html(
    "section",
    { "aria-label": clusterName(cluster) },
    html("h4", {}, swatch(cluster.color), clusterName(cluster)),
    html("p", {}, cluster.description?.sentence),
    html("p", { class: "hint" }, own.length ? `${cluster.count} in this tile` : "None in this tile"),
    cells(own, cluster, canvas, side, onCell),
    drawn(cluster, answer.bundle.name, card.manifest.metrics.clusters[k]),
    cluster.description ? telling(cluster.description) : html("div"),
  );
}

function cells(own, cluster, canvas, side, onCell) {
  const grid = html("div", { class: "crops" });
  const button = (cell) =>
    html(
      "button",
      { type: "button", "aria-label": `Cell ${cell.id}, show in the tile`, onclick: () => onCell(cell) },
      crop(canvas, cell, side, CELL_PX),
    );
  const show = (some) => grid.append(...some.map(button));
  show(own.slice(0, FIRST));
  if (own.length <= FIRST) return grid;
  const more = html("button", { type: "button", class: "small" }, `Show all ${own.length}`);
  more.addEventListener("click", () => {
    show(own.slice(FIRST));
    grid.children[FIRST].focus();
    more.remove();
  });
  return html("div", {}, grid, more);
}

function drawn(cluster, bundle, metrics) {
  const name = clusterName(cluster);
  const shown = Array.from({ length: FIRST }, () => html("canvas", { width: CELL_PX, height: CELL_PX }));
  const grid = html("div", { class: "prototypes", role: "img", "aria-label": `${FIRST} prototypes of ${name.toLowerCase()}` }, shown);
  const message = html("p", { class: "problem", role: "alert", hidden: true });
  const draw = async (seed) => {
    try {
      const cells = await createImageBitmap(await prototypes(bundle, cluster.cluster, FIRST, seed));
      grid.replaceChildren(...Array.from({ length: FIRST }, (_, i) => prototype(cells, i)));
      message.hidden = true;
    } catch (problem) {
      message.textContent = problem.message;
      message.hidden = false;
    }
  };
  draw(0);
  const again = () => draw(Math.floor(Math.random() * MAX_SEED));
  const quality = `Fidelity ${percent(metrics.fidelity)}, diversity ${number(metrics.diversity)}`;
  return html(
    "div",
    { class: "drawn" },
    html("h5", {}, "Prototypes (generated)"),
    grid,
    message,
    html("button", { type: "button", class: "small", onclick: again, "aria-label": `New draws of ${name.toLowerCase()}` }, "New draws"),
    html("p", { class: "hint" }, quality),
  );
}

/** Return cell i of a grid of prototypes, enlarged smoothly. */
function prototype(grid, i) {
  const columns = grid.width / NETWORK_PX;
  const centroid = [i % columns, Math.floor(i / columns)].map((at) => (at + 0.5) * NETWORK_PX - 0.5);
  return crop(grid, { centroid }, NETWORK_PX, CELL_PX);
}

/** Return the measurements that set a cluster apart, in the cells that the bundle was made of. */
const telling = ({ measurements, n_cells: n }) =>
  html(
    "div",
    {},
    html("h5", {}, "What sets it apart"),
    html(
      "ul",
      { class: "telling" },
      measurements.slice(0, TELLING).filter(({ median }) => median !== null).map(({ title, unit, median, quartiles }) =>
        html("li", {}, `${title} `, html("b", {}, [significant(median), unitText(unit)].filter(Boolean).join(" ")), ` (${quartiles.map(significant).join("–")})`),
      ),
    ),
    html("p", { class: "hint" }, `Median (quartiles) of ${n} reference cells`),
  );
