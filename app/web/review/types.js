// The list of types: buttons that name the selected cells, and the form in which the laboratory edits the list.

import { byId, headings, html, plural, swatch } from "../dom.js";
import { setTypes } from "./service.js";

const KEYS = 9;
const FREE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#332288", "#882255", "#44aa99", "#999933", "#aa4499"];
const CONFIRM = (lost) =>
  `${lost.map(({ name, count }) => `“${name}” names ${plural(count, "cell")}`).join(", ")}. Delete ${lost.length === 1 ? "this type" : "these types"} and the names of the cells?`;

export class Types {
  /** `onName(type)` is called with the type of the button that was clicked, `onKeep()` before an edit is sent, `onKept(progress, renamed)` after it. */
  constructor({ onName, onKeep, onKept }) {
    Object.assign(this, { onName, onKeep, onKept, types: [], suggestions: [], rows: [] });
    byId("edit-types").addEventListener("click", () => this.edit());
    byId("type-cancel").addEventListener("click", () => byId("type-editor").close());
    byId("add-type").addEventListener("click", () => this.add({ name: "", lineage: null }, true));
    byId("type-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.keep();
    });
  }

  /** Show the buttons of all types. */
  show({ types, suggestions, n_named: named }) {
    Object.assign(this, { types, suggestions });
    const most = Math.max(1, ...types.map(({ count }) => count));
    byId("type-buttons").replaceChildren(
      ...(types.length
        ? types.map((one, i) => this.button(one, i, most))
        : [html("p", {}, "There are no types yet."), html("button", { type: "button", class: "primary", id: "first-types", onclick: () => this.edit() }, "Choose types")]),
    );
    byId("edit-types").hidden = byId("take-back").hidden = byId("undo").hidden = types.length === 0;
    byId("named-words").textContent = named ? `${named === 1 ? "1 cell has" : `${named} cells have`} a name` : "";
  }

  button({ name, color, count, lineage }, i, most) {
    return html(
      "button",
      { type: "button", class: "type", title: lineage ? `${name}, ${lineage}` : name, "aria-label": `Name the selected cells ${name}; ${plural(count, "cell")} so far`, onclick: () => this.onName(name) },
      html("kbd", { "aria-hidden": "true" }, i < KEYS ? String(i + 1) : "–"),
      swatch(color),
      html("span", { class: "type-name" }, name),
      html("span", { class: "value" }, String(count)),
      html("span", { class: "share", "aria-hidden": "true", style: { width: `${(100 * count) / most}%`, "background-color": color } }),
    );
  }

  /** Open the form with the types as they are. */
  edit() {
    this.rows = [];
    byId("type-problem").replaceChildren();
    byId("type-rows").replaceChildren(html("thead", {}, html("tr", {}, headings(["Key"], ["Colour"], ["Name"], ["Lineage"], ["Order"], [""]))), html("tbody"));
    for (const one of this.types) this.add({ ...one, was: one.name });
    this.suggest();
    byId("type-editor").showModal();
  }

  add({ name, color, lineage, was }, focus = false) {
    const used = new Set(this.rows.map((row) => row.color.value));
    const row = {
      was,
      name: html("input", { type: "text", value: name, maxlength: 60, required: true, "aria-label": "Name of the type", autocomplete: "off" }),
      color: html("input", { type: "color", value: color ?? FREE.find((one) => !used.has(one)) ?? FREE[0], "aria-label": `Colour of ${name || "the type"}` }),
      lineage: html("select", { "aria-label": `Lineage of ${name || "the type"}` }, ["", "myeloid", "erythroid"].map((one) => html("option", { value: one, selected: one === (lineage ?? "") }, one || "neither"))),
      key: html("kbd"),
    };
    const button = (text, words, onclick) => html("button", { type: "button", class: "small", "aria-label": `${words} ${name || "the type"}`, onclick }, text);
    row.element = html("tr", {}, html("td", {}, row.key), html("td", {}, row.color), html("td", {}, row.name), html("td", {}, row.lineage),
      html("td", { class: "order" }, button("↑", "Move up", () => this.shift(row, -1)), button("↓", "Move down", () => this.shift(row, 1))),
      html("td", {}, button("Remove", "Remove", () => this.remove(row))));
    this.rows.push(row);
    byId("type-rows").tBodies[0].append(row.element);
    this.number();
    if (focus) row.name.focus();
  }

  number() {
    this.rows.forEach(({ key }, i) => (key.textContent = i < KEYS ? String(i + 1) : "–"));
  }

  shift(row, by) {
    const from = this.rows.indexOf(row);
    const to = from + by;
    if (to < 0 || to >= this.rows.length) return;
    this.rows.splice(to, 0, ...this.rows.splice(from, 1));
    const focused = document.activeElement;
    byId("type-rows").tBodies[0].replaceChildren(...this.rows.map(({ element }) => element));
    focused.focus();
    this.number();
  }

  remove(row) {
    this.rows.splice(this.rows.indexOf(row), 1);
    row.element.remove();
    this.number();
    this.suggest();
    byId("add-type").focus();
  }

  /** Offer the suggestions that are not in the list. */
  suggest() {
    const there = new Set(this.rows.map(({ name }) => name.value.trim().toLowerCase()));
    const missing = this.suggestions.filter(({ name }) => !there.has(name.toLowerCase()));
    const take = (some) => {
      for (const one of some) this.add(one);
      this.suggest();
      byId("add-type").focus();
    };
    byId("type-suggestions").replaceChildren(
      ...(missing.length
        ? [
            html("p", { class: "hint" }, "Suggestions, after the differential count of WHO and ICSH:"),
            html(
              "p",
              { class: "actions" },
              html("button", { type: "button", class: "small primary", id: "all-suggestions", onclick: () => take(missing) }, `Add all ${missing.length}`),
              missing.map((one) => html("button", { type: "button", class: "small", onclick: () => take([one]) }, swatch(one.color), one.name)),
            ),
          ]
        : []),
    );
  }

  async keep() {
    const wanted = this.rows.map(({ name, color, lineage, was }) => ({ name: name.value.trim(), color: color.value, lineage: lineage.value || null, ...(was && { was }) }));
    const kept = new Set(wanted.map(({ was }) => was));
    const gone = this.types.filter(({ name }) => !kept.has(name));
    const names = gone.filter(({ count }) => count > 0);
    if (names.length && !confirm(CONFIRM(names))) return;
    try {
      await this.onKeep();
      await this.send(wanted, names.length > 0);
    } catch (problem) {
      // Others may have named cells meanwhile, or cells have another type by most reviewers.
      const isNamed = problem.status === 409 && gone.length > 0 && names.length === 0;
      if (isNamed && confirm(`${problem.message.split(";")[0]} Delete the names, too?`)) await this.send(wanted, true).catch(complain);
      else complain(problem);
    }
  }

  async send(wanted, deleteNames) {
    const progress = await setTypes(wanted, deleteNames);
    byId("type-editor").close();
    this.onKept(progress, Object.fromEntries(wanted.flatMap(({ was }, i) => (was ? [[was, progress.types[i].name]] : []))));
  }
}

function complain(problem) {
  byId("type-problem").replaceChildren(html("p", { class: "problem" }, problem.message));
}
