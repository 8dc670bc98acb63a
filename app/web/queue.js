// The table of tiles, which are analysed one after the other.

import { analyse } from "./api.js";
import { byId, headings, html, percent, save } from "./dom.js";
import { flagName } from "./label.js";

const STATES = { waiting: "waits", running: "is analysed …", failed: "failed", done: "done" };

// The beginning of a text that a spreadsheet takes for a formula, as app/answer/csv_table.py has it.
const FORMULA = /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;

export class Queue {
  /** `onDone(entry)` or `onFailed(entry)` is called after each tile, `onSelect(entry)` after a click on its name. */
  constructor({ onDone, onFailed, onSelect }) {
    Object.assign(this, { onDone, onFailed, onSelect, entries: [], selected: null, added: [], isRunning: false });
    byId("clear").addEventListener("click", () => this.clear());
    byId("summary-csv").addEventListener("click", () => this.download());
  }

  add(files, options) {
    this.added = Array.from(files, (file) => ({ file, options, name: file.name, state: "waiting", answer: null, problem: null }));
    this.entries.push(...this.added);
    this.draw();
    this.run();
  }

  async run() {
    if (this.isRunning) return;
    this.isRunning = true;
    for (let entry; (entry = this.entries.find(({ state }) => state === "waiting")); ) {
      entry.state = "running";
      this.draw();
      try {
        entry.answer = await analyse(entry.file, entry.options);
        entry.state = "done";
      } catch (problem) {
        Object.assign(entry, { problem, state: "failed" });
      }
      // The user may have cleared the table meanwhile.
      if (this.entries.includes(entry)) (entry.answer ? this.onDone : this.onFailed)(entry);
      this.draw();
    }
    this.isRunning = false;
  }

  select(entry) {
    Object.assign(this, { selected: entry, added: [] });
    this.draw();
  }

  clear() {
    this.entries = [];
    this.select(null);
    this.onSelect(null);
  }

  draw() {
    const bundles = new Set(this.entries.flatMap(({ answer }) => (answer ? [bundleOf(answer)] : [])));
    const finished = this.entries.filter(({ state }) => state === "done" || state === "failed").length;
    byId("queue").hidden = this.entries.length < 2;
    byId("progress").hidden = finished === this.entries.length;
    byId("progress").max = this.entries.length || 1;
    // There is no progress within a single tile.
    if (this.entries.length > 1) byId("progress").value = finished;
    else byId("progress").removeAttribute("value");
    byId("summary-csv").disabled = finished === 0;
    byId("summary").replaceChildren(
      html("thead", {}, html("tr", {}, headings(["Tile"], ["State"], ["Cells", "value"], ["Cellularity", "value"], ["Proportions"], ["Label"], ["Flags"], ...(bundles.size > 1 ? [["Bundle"]] : [])))),
      html("tbody", {}, this.entries.map((entry) => this.row(entry, bundles.size > 1))),
    );
  }

  row(entry, withBundle) {
    const { answer, problem, state } = entry;
    const name = answer
      ? html("button", { type: "button", class: "link", "aria-pressed": String(entry === this.selected), onclick: () => this.onSelect(entry) }, entry.name)
      : entry.name;
    return html(
      "tr",
      { class: entry === this.selected ? "selected" : null },
      html("th", { scope: "row" }, name),
      html("td", {}, problem ? html("span", { class: "bad" }, `failed: ${problem.message}`) : STATES[state]),
      html("td", { class: "value" }, answer ? String(answer.cells.length) : ""),
      html("td", { class: "value" }, answer?.tissue ? percent(answer.tissue.cellularity) : ""),
      html("td", {}, answer ? stack(answer.clusters) : ""),
      html("td", {}, answer ? answer.label.value : ""),
      html("td", {}, answer ? answer.quality.flags.map(({ code }) => flagName(code)).join(", ") : ""),
      withBundle ? html("td", {}, answer ? bundleOf(answer) : "") : [],
    );
  }

  download() {
    const k = Math.max(0, ...this.entries.map(({ answer }) => answer?.clusters.length ?? 0));
    const each = (prefix) => Array.from({ length: k }, (_, i) => `${prefix}_${i}`);
    const types = [...new Set(this.entries.flatMap(({ answer }) => (answer?.types ?? []).map(({ type }) => type)))];
    const header = ["tile", "status", "error", "cells", "outliers", "label", "score", "reason", "basis", "flags", ...each("count"), ...each("proportion"), "cellularity", ...types.flatMap(typeColumns), ...(types.length ? ["corrected_cells", "corrected_by"] : []), "bundle", "bundle_version"];
    const rows = this.entries.filter(({ state }) => state === "done" || state === "failed").map((entry) => summaryRow(entry, k, types));
    // The row of a tile that failed ends early.
    const csv = [header, ...rows].map((row) => header.map((_, i) => quoted(row[i])).join(",")).join("\r\n");
    save(new Blob([csv + "\r\n"], { type: "text/csv" }), "summary.csv");
  }
}

const bundleOf = ({ bundle }) => `${bundle.name} ${bundle.version}`;

const typeColumns = (type) => [`type_count_${type}`, `type_proportion_${type}`];

function summaryRow({ name, answer, problem }, k, types) {
  if (!answer) return [name, "failed", problem.message];
  const { label } = answer;
  // Another bundle may have fewer clusters.
  const clusters = Array.from({ length: k }, (_, i) => answer.clusters[i]);
  return [
    name, "ok", "", answer.cells.length, answer.outliers.count, label.value, label.score, label.reason, label.basis,
    answer.quality.flags.map(({ code }) => code).join(" "),
    ...clusters.map((cluster) => cluster?.count),
    ...clusters.map((cluster) => cluster?.proportion),
    answer.tissue?.cellularity,
    ...types.flatMap((type) => {
      const found = answer.types?.find((one) => one.type === type);
      return [found?.count, found?.proportion];
    }),
    ...(types.length ? [answer.corrections?.n, answer.corrections?.by] : []),
    answer.bundle.name, answer.bundle.version,
  ];
}

function quoted(value) {
  const isFormula = typeof value === "string" && FORMULA.test(value);
  const text = value === null || value === undefined ? "" : `${isFormula ? "'" : ""}${value}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const stack = (clusters) =>
  html(
    "span",
    { class: "stack", role: "img", "aria-label": clusters.map(({ cluster, proportion }) => `${cluster}: ${percent(proportion)}`).join(", ") },
    clusters.map(({ color, proportion }) => html("span", { style: { width: percent(proportion ?? 0, 2), "background-color": color } })),
  );
