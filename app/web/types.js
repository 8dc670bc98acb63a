// The section of cell types: a bar for each type that people have taught the bundle, with its interval.

import { byId, headings, html, number, percent, plural, swatch } from "./dom.js";
import { bar, scaleOf } from "./proportions.js";

/** Fill the section, or hide it where the bundle knows no types. */
export function showTypes({ types, cells_without_type: without, myeloid_erythroid_ratio: ratio }, card) {
  byId("types").hidden = !types;
  if (!types) return;
  const scale = scaleOf(types);
  byId("types").replaceChildren(
    html("h3", { id: "types-title" }, "Cell types"),
    html(
      "div",
      { class: "scrolls" },
      html(
        "table",
        { class: "bars" },
        html("thead", {}, html("tr", {}, headings(["Type"], ["Cells", "value"], [`0 – ${percent(scale)}`], ["Share", "value"], ["95% interval", "value"]))),
        html("tbody", {}, types.map((one) => row(one, scale))),
      ),
    ),
    ratio === undefined || ratio === null ? "" : html("p", {}, "Myeloid to erythroid cells: ", html("strong", {}, `${number(ratio)} to 1`)),
    html("p", {}, withoutType(without)),
    html("p", { class: "hint" }, "Shares are of the cells that have a type. An interval allows for the errors that the classifier made on named cells that were left out, and takes these to be like the cells of this tile."),
    card.types_warning ? html("p", { class: "hint" }, card.types_warning) : "",
  );
}

const withoutType = (n) => (n ? `${plural(n, "counted cell")} ${n === 1 ? "has" : "have"} no type, because none is probable enough.` : "Every counted cell has a type.");

function row(one, scale) {
  const { type, color, count, proportion, interval } = one;
  return html(
    "tr",
    {},
    html("th", { scope: "row" }, swatch(color), type),
    html("td", { class: "value" }, String(count)),
    html("td", { class: "track" }, bar(one, scale)),
    html("td", { class: "value" }, percent(proportion, 1)),
    html("td", { class: "value" }, interval ? interval.map((end) => number(100 * end, 1)).join("–") + "%" : "–"),
  );
}
