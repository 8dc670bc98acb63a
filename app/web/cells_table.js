// The table of all cells: it sorts by any column, and shows the measurements that the user chooses.

import { byId, clusterName, html, number, percent, plural, swatch } from "./dom.js";
import { downloadButton } from "./downloads.js";
import { typeColor, typeName } from "./groups.js";
import { grouped, headingOf, keyOf, marked, unusual, valueOf, whyNot } from "./measurements.js";
import { crop } from "./picture.js";

const PAGE = 100;
const CROP_PX = 36;
const FEW = 6;
const TELLING = 3;

export class CellsTable {
  /**
   * `onChoose(cell)` is called with the cell of a row that was clicked or gone to, `onGoTo(cell)` if it is to be brought
   * into sight, `onAll()` when all cells are to be shown again, and `onProblem(problem)` with every error.
   */
  constructor({ onChoose, onGoTo, onAll, onProblem }) {
    Object.assign(this, { onChoose, onGoTo, onAll, onProblem, wanted: null });
  }

  /** Show the cells of another tile. The columns that the user has chosen stay. */
  show(shown, measurements) {
    Object.assign(this, { shown, measurements, sort: { key: "id", sign: 1 }, first: 0, chosen: null, picked: null, pickedAs: "" });
    byId("cells").hidden = shown.answer.cells.length === 0;
    this.box = byId("cells-scroll");
    this.box.scrollTo(0, 0);
    this.table = byId("cells-table");
    byId("cells-actions").replaceChildren(
      ...["Previous", "Next"].map((text, i) => html("button", { type: "button", class: "small", onclick: () => this.turn(i ? PAGE : -PAGE) }, text)),
      html("span", { id: "cells-rows", role: "status" }),
      html("button", { id: "cells-all", type: "button", class: "small", onclick: () => this.onAll(), hidden: true }, "Show all cells"),
      downloadButton(shown.entry, "csv", "Download all cells (CSV)", this.onProblem),
    );
    byId("cells-columns").replaceChildren(...this.chooser());
    byId("cells-columns").hidden = measurements.length === 0;
    this.draw();
  }

  isWanted({ key }) {
    return (this.wanted ?? usual(this.shown.answer, this.measurements)).has(key);
  }

  chooser() {
    const box = (one) =>
      html("label", {}, html("input", { type: "checkbox", checked: this.isWanted(one), onchange: (event) => this.want(one, event.target.checked) }), headingOf(one));
    return [
      html("summary", {}, "Choose columns"),
      ...grouped(this.measurements).map(([group, members]) => html("fieldset", { class: "filter" }, html("legend", {}, group), members.map(box))),
    ];
  }

  want({ key }, isWanted) {
    this.wanted ??= new Set(usual(this.shown.answer, this.measurements));
    if (isWanted) this.wanted.add(key);
    else this.wanted.delete(key);
    if (this.sort.key === key && !isWanted) this.sort = { key: "id", sign: 1 };
    this.draw();
  }

  draw() {
    this.columns = [...this.fixed(), ...this.measurements.filter((one) => this.isWanted(one)).map(measurementColumn)];
    this.body = html("tbody", { onclick: (event) => this.onRow(event), onkeydown: (event) => this.onKey(event) });
    this.table.replaceChildren(html("thead", {}, html("tr", {}, this.columns.map((column) => this.heading(column)))), this.body);
    this.order();
  }

  fixed() {
    const { answer } = this.shown;
    const kind = (cell) => (cell.outlier ? "Outlier" : clusterName(answer.clusters[cell.cluster]));
    const sureness = (cell) => cell.probabilities[cell.cluster];
    return [
      { key: "id", title: "Cell", of: (cell) => cell.id, draw: (cell) => this.name(cell) },
      ...(answer.types ? typeColumns(answer) : []),
      {
        key: "cluster",
        title: "Cluster",
        of: (cell) => (cell.outlier ? answer.clusters.length : cell.cluster),
        draw: (cell) => html("td", {}, cell.outlier ? swatch("", "outlier") : swatch(answer.clusters[cell.cluster].color), kind(cell)),
      },
      { key: "probability", title: answer.types ? "Cluster probability" : "Probability", isNumber: true, of: sureness, draw: (cell) => html("td", { class: "value" }, percent(sureness(cell))) },
    ];
  }

  name(cell) {
    const { canvas, side } = this.shown;
    return html(
      "th",
      { scope: "row" },
      html("button", { type: "button", class: "crop", tabindex: "-1", "aria-label": `Cell ${cell.id}, show in the tile`, onclick: () => this.onGoTo(cell) }, crop(canvas, cell, side, CROP_PX)),
      ` ${cell.id}`,
    );
  }

  heading({ key, title, isNumber }) {
    return html(
      "th",
      { scope: "col", class: isNumber ? "value" : null, "data-key": key, "aria-sort": this.direction(key) },
      html("button", { type: "button", class: "sort", onclick: () => this.sortBy(key) }, title),
    );
  }

  /** Sort by a column, upwards; if that is so already, downwards. */
  sortBy(key) {
    this.sort = { key, sign: this.sort.key === key ? -this.sort.sign : 1 };
    for (const heading of this.table.tHead.rows[0].cells)
      heading.setAttribute("aria-sort", this.direction(heading.dataset.key));
    this.order();
  }

  direction(key) {
    if (key !== this.sort.key) return "none";
    return this.sort.sign === 1 ? "ascending" : "descending";
  }

  /** Put the cells in order. Those in which it was not measured come last, whichever the direction. */
  order() {
    const { of } = this.columns.find(({ key }) => key === this.sort.key);
    const known = (cell) => of(cell) !== null;
    const cells = this.picked ?? this.shown.answer.cells;
    const inOrder = cells.filter(known).sort((a, b) => this.sort.sign * (of(a) - of(b)) || a.id - b.id);
    this.cells = [...inOrder, ...cells.filter((cell) => !known(cell))];
    this.turnTo(0);
  }

  turn(by) {
    this.turnTo(this.first + by);
    this.box.scrollTo({ top: 0 });
  }

  turnTo(first) {
    this.first = first;
    const page = this.cells.slice(first, first + PAGE);
    const [back, next] = byId("cells-actions").children;
    back.disabled = first === 0;
    next.disabled = first + PAGE >= this.cells.length;
    const all = this.shown.answer.cells.length;
    const some = this.picked ? `${plural(this.cells.length, "cell")} of ${all} (${this.pickedAs})` : plural(all, "cell");
    byId("cells-rows").textContent = this.cells.length > PAGE ? `${first + 1}–${first + page.length} of ${some}` : some;
    this.body.replaceChildren(...page.map((cell) => this.row(cell)));
    this.reach(this.body.querySelector("[aria-current]") ?? this.body.rows[0]);
  }

  /** Let Tab reach this row; arrow keys go from row to row. */
  reach(row) {
    this.body.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
    row?.querySelector("button").setAttribute("tabindex", "0");
  }

  onKey(event) {
    const row = event.target.closest("tr");
    const rows = { ArrowDown: row.nextSibling, ArrowUp: row.previousSibling, Home: this.body.firstChild, End: this.body.lastChild };
    if (!(event.key in rows)) return;
    event.preventDefault();
    const next = rows[event.key];
    if (!next) return;
    next.querySelector("button").focus({ preventScroll: true });
    this.onChoose(this.shown.answer.cells[next.dataset.id]);
  }

  row(cell) {
    const isChosen = cell === this.chosen;
    return html("tr", { "data-id": cell.id, "aria-current": isChosen ? "true" : null }, this.columns.map(({ draw }) => draw(cell)));
  }

  onRow(event) {
    const row = event.target.closest("tr");
    if (row && !event.target.closest("button")) this.onChoose(this.shown.answer.cells[row.dataset.id]);
  }

  /** Mark the row of the cell that was chosen, here or in the picture, and bring it into the table's view. */
  mark(cell) {
    this.chosen = cell;
    this.body.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const at = cell ? this.cells.indexOf(cell) : -1;
    if (at < 0) return;
    const first = at - (at % PAGE);
    if (first !== this.first) this.turnTo(first);
    const row = this.body.rows[at - first];
    row.setAttribute("aria-current", "true");
    this.reach(row);
    const [above, below] = [row.offsetTop - this.table.tHead.offsetHeight, row.offsetTop + row.offsetHeight];
    if (above < this.box.scrollTop) this.box.scrollTop = above;
    else if (below > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = below - this.box.clientHeight;
  }

  /** Show only these cells, which `words` describe; null shows all. */
  pick(cells, words = "") {
    Object.assign(this, { picked: cells, pickedAs: words });
    byId("cells-all").hidden = cells === null;
    this.order();
  }
}

/** Return the measurements to begin with: those that set the clusters apart or, where that is not known, the first of each group. */
function usual({ clusters }, measurements) {
  const telling = new Set(clusters.flatMap(({ description }) => (description?.measurements ?? []).slice(0, TELLING).map(({ measurement }) => keyOf(measurement))));
  const found = measurements.filter(({ key }) => telling.has(key));
  const chosen = found.length ? found : grouped(measurements).map(([, [first]]) => first);
  return new Set(chosen.slice(0, FEW).map(({ key }) => key));
}

/** Return the columns of the cells' types. Cells without a type come last, whichever the direction. */
function typeColumns(answer) {
  const places = new Map(answer.types.map(({ type }, i) => [type, i]));
  return [
    {
      key: "type",
      title: "Type",
      of: (cell) => places.get(cell.type) ?? null,
      draw: (cell) => html("td", {}, swatch(typeColor(answer, cell)), typeName(cell)),
    },
    {
      key: "type_probability",
      title: "Type probability",
      isNumber: true,
      of: (cell) => cell.type_probability,
      draw: (cell) => html("td", { class: "value" }, cell.type_corrected ? "corrected" : percent(cell.type_probability)),
    },
  ];
}

const measurementColumn = (one) => ({
  key: one.key,
  title: headingOf(one),
  isNumber: true,
  of: (cell) => valueOf(cell, one.name),
  draw: (cell) => measurementCell(one, cell),
});

function measurementCell(one, cell) {
  const value = valueOf(cell, one.name);
  if (value === null) return html("td", { class: "value", title: whyNot(cell, one.name) }, "–", html("span", { class: "visually-hidden" }, whyNot(cell, one.name)));
  const kind = unusual(one, value);
  const text = number(value, one.digits);
  return html("td", { class: "value" }, marked(kind), kind ? html("b", {}, text) : text);
}
