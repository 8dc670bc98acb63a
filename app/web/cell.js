// The panel of one cell: what it looks like, its cluster, how certain the network Q is, and its measurements.

import { byId, clusterName, headings, html, number, percent, swatch } from "./dom.js";
import { typeColor, typeName } from "./groups.js";
import { capital, grouped, inWords, marked, unitText, unusual, valueOf, whyNot } from "./measurements.js";
import { crop } from "./picture.js";

const SHOWN_PX = 80;
// What stands between the two parts of a title such as "Eosin, mean".
const PART = ", ";

/**
 * Show a cell in the corner of the view that is farther from it. Without a cell, hide the panel. That of a cell which was
 * chosen stays, and can be scrolled; `chooser(cell, answer)` is the list from which its type is chosen.
 */
export function showCell(cell, { answer, canvas, side, measurements, chooser }, { isRight = false, isChosen = false } = {}) {
  const panel = byId("cell");
  panel.hidden = cell === null;
  if (cell === null) return;
  panel.dataset.cell = cell.id;
  panel.classList.toggle("aside", isRight);
  panel.classList.toggle("chosen", isChosen);
  panel.classList.toggle("measured", Boolean(cell.measurements));
  if (isChosen) panel.setAttribute("tabindex", "0");
  else panel.removeAttribute("tabindex");
  panel.scrollTop = 0;
  const { color } = answer.clusters[cell.cluster];
  panel.replaceChildren(
    html("h3", { class: "words" }, cell.outlier ? swatch("", "outlier") : swatch(answer.types ? typeColor(answer, cell) : color), `Cell ${cell.id}: ${kind(cell, answer)}`),
    crop(canvas, cell, side, SHOWN_PX),
    html(
      "table",
      { class: "bars" },
      answer.clusters.map(({ cluster, color: own }) => row(cluster, cell.probabilities[cluster], own)),
    ),
    isChosen && answer.types && !cell.outlier ? chooser(cell, answer) : "",
    html("p", { class: "hint words" }, facts(cell, answer)),
    cell.measurements ? groups(cell, measurements, isChosen) : "",
  );
}

function kind(cell, { clusters, types }) {
  if (cell.outlier) return "outlier";
  return types ? typeName(cell) : clusterName(clusters[cell.cluster]).toLowerCase();
}

/** Return how sure the type of a cell is, and in which cluster it is. */
function typeFacts(cell, { clusters, types, corrections }) {
  if (!types) return [];
  if (cell.type_corrected) return [`type corrected by ${corrections.by}`, clusterName(clusters[cell.cluster]).toLowerCase()];
  const sureness = cell.type === null ? "no type is probable enough" : `${cell.outlier ? `${cell.type}, with a` : "type"} probability of ${percent(cell.type_probability)}`;
  return [sureness, cell.outlier ? null : clusterName(clusters[cell.cluster]).toLowerCase()];
}

const facts = (cell, answer) =>
  [
    ...typeFacts(cell, answer),
    cell.measurements ? null : `${cell.area_px} px²`,
    cell.touches_border ? "cut by the tile's border" : null,
    cell.outlier ? `unlike every training cell and not counted; the most similar cluster is ${cell.cluster}` : null,
  ]
    .filter(Boolean)
    .join(", ");

/** Return the measurements by group. Those that are unusual stand out, and what was not measured has its reason below. */
function groups(cell, measurements, isChosen) {
  const all = grouped(measurements);
  const [parted, plain] = [true, false].map((wanted) => all.filter(([, members]) => members.every(({ title }) => title.includes(PART)) === wanted));
  return html(
    "div",
    { class: "words groups" },
    html("p", {}, inWords(cell, measurements), isChosen ? "" : " Click to keep this open."),
    plain.map(([name, members]) => section(name, members, cell, list)),
    parted.length ? section(capital(parted.map(([name]) => name.toLowerCase()).join(" and ")), parted.flatMap(([, members]) => members), cell, matrix) : null,
  );
}

/** Return a group under its heading, drawn by `draw`, with the reasons of what was not measured. */
function section(name, members, cell, draw) {
  const missing = members.filter((one) => valueOf(cell, one.name) === null);
  const reasons = [...Map.groupBy(missing, (one) => whyNot(cell, one.name))].map(([reason, those]) =>
    those.length === members.length ? capital(reason) : `${those.map(({ title }) => title).join("; ")}: ${reason}`,
  );
  return html(
    "section",
    {},
    html("h4", {}, name),
    missing.length < members.length ? draw(members, cell) : null,
    reasons.map((text) => html("p", { class: "hint" }, text)),
  );
}

const list = (members, cell) =>
  html(
    "ul",
    {},
    members.filter((one) => valueOf(cell, one.name) !== null).map((one) => html("li", {}, `${one.title} `, value("b", one, cell, unitText(one.unit)), " ")),
  );

/** Return a table of measurements with titles such as "Eosin, mean": a column for Eosin, and a row for the mean. */
function matrix(members, cell) {
  const rows = Map.groupBy(members, ({ title }) => title.slice(title.indexOf(PART) + PART.length));
  const [first] = rows.values();
  const unit = unitText(members[0].unit);
  return html(
    "table",
    {},
    html("thead", {}, html("tr", {}, headings([unit], ...first.map(({ title }) => [title.slice(0, title.indexOf(PART)), "value"])))),
    html("tbody", {}, [...rows].map(([name, those]) => html("tr", {}, html("th", { scope: "row" }, name), those.map((one) => value("td", one, cell))))),
  );
}

function value(tag, one, cell, unit = "") {
  const kind = unusual(one, valueOf(cell, one.name));
  const text = [number(valueOf(cell, one.name), one.digits), unit].filter(Boolean).join(" ");
  return html(tag, { class: kind ? "value unusual" : "value" }, marked(kind), text);
}

const row = (cluster, probability, color) =>
  html(
    "tr",
    {},
    html("th", { scope: "row" }, String(cluster)),
    html("td", { class: "track" }, html("span", { class: "bar", style: { width: percent(probability, 1), "background-color": color } })),
    html("td", { class: "value" }, percent(probability)),
  );
