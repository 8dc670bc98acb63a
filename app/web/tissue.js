// The panel of the tissue: its cellularity, and the shares of what the tile shows.

import { byId, html, number, percent, svg } from "./dom.js";
import { capital } from "./measurements.js";
import { band, ends, flagged, restsOn } from "./range.js";

const PARTS = ["haematopoietic", "fat", "bone_and_stroma", "red_cells", "background"];
const PLACES = { low: "Below the reference range", within: "Within the reference range", high: "Above the reference range" };
const WIDTH = 100;
const HEIGHT = 14;

/** Fill the panel; an answer without a composition has none. */
export function showTissue({ tissue }) {
  byId("tissue").hidden = !tissue;
  if (!tissue) return;
  const area = tissue.area_mm2 === null ? "" : ` of ${number(tissue.area_mm2, 3)} mm²`;
  byId("tissue").replaceChildren(
    html("h3", { id: "tissue-title" }, "Tissue"),
    cellularity(tissue),
    html(
      "div",
      { class: "composition" },
      html("p", { class: "hint" }, `What the tile${area} shows`),
      html("div", { class: "parts", "aria-hidden": "true" }, PARTS.map((part) => html("span", { class: part, style: { width: percent(tissue[part] ?? 0, 2) } }))),
      html("ul", {}, PARTS.map((part) => legend(part, tissue[part]))),
    ),
  );
}

const legend = (part, share) =>
  html("li", {}, html("span", { class: `swatch ${part}`, "aria-hidden": "true" }), `${capital(part)} `, html("b", {}, percent(share ?? null)));

function cellularity({ cellularity: share, reference, reason }) {
  if (share === null)
    return html("div", {}, html("p", {}, html("strong", {}, "No cellularity")), html("p", { class: "hint" }, reason ?? ""));
  return html(
    "div",
    { class: "cellularity" },
    html("p", {}, html("strong", { class: "digits" }, percent(share)), " cellularity ", flagged(reference)),
    gauge(share, reference),
    html("p", { class: "hint" }, reference ? `${PLACES[reference.flag] ?? "Reference range"} ${ends(reference, (end) => number(100 * end, 0), "%")}; ${restsOn(reference)}. ` : "", "Haematopoietic tissue over haematopoietic tissue and fat."),
  );
}

const gauge = (share, reference) =>
  svg(
    "svg",
    { class: "gauge", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    band(reference, 1, WIDTH, HEIGHT),
    svg("rect", { class: "fill", x: 0, y: 4, width: WIDTH * share, height: HEIGHT - 8 }),
  );
