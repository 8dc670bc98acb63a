// Corrections: a person gives cells of the shown tile other types, takes that back, and sends the cells to the review.

import { analyse, hasKey, Problem, toReview } from "./api.js";
import { byId, html, plural } from "./dom.js";
import { typeName } from "./groups.js";

export class Corrections {
  /** `onCounted(entry)` is called when the service has counted the types of a tile again, `onProblem(problem)` with every error. */
  constructor({ onCounted, onProblem }) {
    Object.assign(this, { onCounted, onProblem, entry: null, hasReview: false });
    byId("correct-undo").addEventListener("click", () => this.undo());
    byId("correct-send").addEventListener("click", () => this.send());
  }

  /** Show how far the types of a tile are corrected. The section is hidden where the bundle knows no types. */
  show(entry, news = "") {
    const edits = editsOf(entry);
    const { types, corrections } = entry.answer;
    this.entry = entry;
    byId("corrections").hidden = !types;
    byId("corrector-field").hidden = hasKey();
    byId("correct-undo").disabled = edits.past.length === 0;
    byId("correct-send").hidden = byId("correct-send-hint").hidden = !this.hasReview;
    byId("correct-send").disabled = !corrections;
    const counted = corrections ? `${plural(corrections.n, "cell")} corrected by ${corrections.by}.` : "No type was corrected.";
    byId("corrections-line").textContent = [counted, news].filter(Boolean).join(" ");
  }

  /** Return the list of types from which one is chosen for a cell, under its label. */
  chooser(cell, { types }) {
    const { found, given } = editsOf(this.entry);
    const chosen = given.get(cell.id);
    const option = (value, text) => html("option", { value, selected: value === (chosen ?? "") }, text);
    const select = html(
      "select",
      { id: "cell-type", onchange: ({ target }) => this.correct(cell, target.value || null) },
      option("", `${typeName({ type: found ? found.get(cell.id) : cell.type })}, as found`),
      types.map(({ type }, i) => option(type, i < 9 ? `${i + 1} ${type}` : type)),
    );
    return html("p", { class: "words" }, html("label", { for: "cell-type" }, "Type "), select);
  }

  /** Give a cell the type to which a digit belongs. */
  byDigit(cell, digit) {
    const type = this.entry?.answer.types?.[digit - 1]?.type;
    if (cell && type && !cell.outlier) this.correct(cell, type);
  }

  /** Give a cell a type, or the one that was found (null), and count again. */
  correct(cell, type) {
    const edits = editsOf(this.entry);
    edits.found ??= new Map(this.entry.answer.cells.map((one) => [one.id, one.type]));
    const given = new Map(edits.given);
    if (type === null) given.delete(cell.id);
    else given.set(cell.id, type);
    edits.past.push(edits.given);
    edits.given = given;
    this.count(this.entry);
  }

  undo() {
    const edits = editsOf(this.entry);
    if (edits.past.length === 0) return;
    edits.given = edits.past.pop();
    this.count(this.entry);
  }

  /** Let the service count again, until its answer is about the corrections that are wanted by then. */
  async count(entry) {
    const edits = editsOf(entry);
    if (edits.isCounting) return;
    edits.isCounting = true;
    this.show(entry, "Counting again …");
    while (edits.counted !== edits.given) {
      const wanted = edits.given;
      const reviewer = hasKey() ? null : byId("corrector").value.trim();
      const options = { ...entry.options, corrections: byType(wanted), reviewer, madeOn: entry.answer.cells_sha256 };
      try {
        adopt(entry, await analyse(entry.file, options));
        Object.assign(entry, { options });
        edits.counted = wanted;
      } catch (problem) {
        // Back to what the page shows.
        const at = edits.past.indexOf(edits.counted);
        if (at >= 0) edits.past.length = at;
        edits.given = edits.counted;
        this.onProblem(problem, entry);
      }
    }
    edits.isCounting = false;
    this.onCounted(entry);
    if (this.entry === entry) this.show(entry);
  }

  /** Put the tile into the review, and name its corrected cells there. */
  async send() {
    const { entry } = this;
    byId("correct-send").disabled = true;
    this.show(entry, "Sending …");
    try {
      const { n_named: n, unmatched } = await toReview(entry);
      const them = n === 1 ? "1 of them has its name" : `${n} of them have their names`;
      if (this.entry === entry) this.show(entry, [`${them} in the review.`, ...unmatched].join(" "));
    } catch (problem) {
      if (this.entry === entry) this.show(entry);
      this.onProblem(problem, entry);
    }
  }
}

/** What a person has corrected: the types `given` by cell, those `counted` last, those before in `past`, and the types `found`. */
function editsOf(entry) {
  const none = new Map();
  return (entry.edits ??= { given: none, counted: none, past: [], found: null, isCounting: false });
}

/** Return corrections as the service takes them: the numbers of the cells by their type. */
function byType(given) {
  const cells = Map.groupBy(given.keys(), (cell) => given.get(cell));
  return given.size ? Object.fromEntries(cells) : null;
}

/** Take a new answer for a tile. Its cells are the same ones, so the page keeps the objects that stand for them. */
function adopt(entry, answer) {
  const { cells, cells_sha256: madeOn } = entry.answer;
  if (answer.cells_sha256 !== madeOn)
    throw new Problem(0, "Not corrected", "The bundle has changed since, and may number cells otherwise. Analyse the tile again.", answer.request_id);
  for (const cell of cells) {
    delete cell.type_corrected;
    Object.assign(cell, answer.cells[cell.id]);
  }
  entry.answer = { ...answer, cells };
}
