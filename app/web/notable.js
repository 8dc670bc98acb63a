// Cells that are worth a look: the unusual ones, and the very large ones, as enlarged crops.

import { byId, clusterName, html, number, plural } from "./dom.js";
import { deviation, distance, valueOf, withUnit } from "./measurements.js";
import { enlarged } from "./picture.js";

const SHOWN = 12;
const FIRST = 24;

/** Fill the section of unusual cells. `onCell(cell)` is called with the cell that was clicked. */
export function showUnusual(shown, measurements, onCell) {
  const { cells } = shown.answer;
  const outliers = cells.filter(({ outlier }) => outlier);
  const far = cells
    .filter(({ outlier }) => !outlier)
    .map((cell) => ({ cell, far: distance(cell, measurements) }))
    .filter(({ far: value }) => value !== null)
    .sort((a, b) => b.far - a.far)
    .slice(0, SHOWN);
  byId("unusual").hidden = outliers.length + far.length === 0;
  const caption = (cell) => [`Cell ${cell.id}`, leading(cell, measurements)];
  byId("unusual").replaceChildren(
    html("h3", { id: "unusual-title" }, "Unusual cells"),
    ...list(
      outliers,
      `${plural(outliers.length, "outlier")}: unlike every training cell, and not counted.`,
      (cell) => picture(shown, [cell], caption(cell), onCell),
    ),
    ...list(
      far.map(({ cell }) => cell),
      "The counted cells whose measurements are the farthest from the tile's median, the farthest first. Below each stands what sets it apart the most.",
      (cell) => picture(shown, [cell], [`Cell ${cell.id}, ${kind(cell, shown.answer)}`, leading(cell, measurements)], onCell),
    ),
  );
}

const kind = (cell, { clusters }) => (cell.outlier ? "outlier" : clusterName(clusters[cell.cluster]).toLowerCase());

/** Return the measurement in which a cell is the farthest from the tile's median, in words; null if it has none. */
function leading(cell, measurements) {
  const by = (one) => Math.abs(deviation(cell, one) ?? 0);
  const most = measurements.reduce((best, one) => (best === null || by(one) > by(best) ? one : best), null);
  if (most === null || by(most) === 0) return null;
  return `${most.title} ${withUnit(most, valueOf(cell, most.name))}, ${deviation(cell, most) > 0 ? "high" : "low"}`;
}

/** Fill the section of very large nuclei; an answer that does not look for them has none. */
export function showLarge(shown, onCell) {
  const { cells, very_large_nuclei: large } = shown.answer;
  byId("large").hidden = !large;
  if (!large) return;
  const density = large.per_mm2 === null ? "" : `, ${number(large.per_mm2, 1)} per mm² of tissue`;
  const least = `a diameter of ${number(large.min_diameter_um, 1)} µm or more`;
  byId("large").replaceChildren(
    html("h3", { id: "large-title" }, "Very large nuclei (megakaryocyte candidates)"),
    html("p", {}, html("strong", {}, large.count ? `${large.count} in this tile${density}` : "None in this tile"), ` with ${least}.`),
    html("p", { class: "basis" }, large.notice),
    ...list(
      large.nuclei,
      null,
      ({ cells: ids, equivalent_diameter_um: diameter }) => picture(shown, ids.map((id) => cells[id]), [`${number(diameter, 1)} µm`, ids.length > 1 ? "lobes that touch" : kind(cells[ids[0]], shown.answer)], onCell),
    ),
  );
}

/** Return a row of pictures under a sentence; nothing if there is none. The first are shown, and a button shows the others. */
function list(all, sentence, draw) {
  if (all.length === 0) return [];
  const row = html("ul", { class: "notable" }, all.slice(0, FIRST).map(draw));
  const more = html("button", { type: "button", class: "small" }, `Show all ${all.length}`);
  more.addEventListener("click", () => {
    row.append(...all.slice(FIRST).map(draw));
    row.children[FIRST].firstChild.focus();
    more.remove();
  });
  return [sentence && html("p", { class: "hint" }, sentence), row, all.length > FIRST && html("div", {}, more)].filter(Boolean);
}

/** Return the picture of a nucleus, which may be found as several cells. */
const picture = ({ canvas, side }, cells, captions, onCell) =>
  html(
    "li",
    {},
    html(
      "button",
      { type: "button", class: "crop", "aria-label": `${cells.length > 1 ? "Cells" : "Cell"} ${cells.map(({ id }) => id).join(", ")}, show in the tile`, onclick: () => onCell(cells[0]) },
      enlarged(canvas, cells, side),
    ),
    captions.filter(Boolean).map((text) => html("p", {}, text)),
  );
