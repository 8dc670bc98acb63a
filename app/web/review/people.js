// The reviewers, and how far they agree.

import { byId, headings, html, number, percent, plural } from "../dom.js";
import { deleteReviewer } from "./service.js";

/** What values of κ up to these are called, after Landis and Koch (1977). */
const WORDS = [[0, "no better than chance"], [0.2, "slight"], [0.4, "fair"], [0.6, "moderate"], [0.8, "substantial"], [1, "almost perfect"]];

/** Fill the section. `onChange()` is called after the names of a reviewer were deleted, `onDiffer()` to see where they differ. */
export function showPeople({ reviewers, agreement, n_disagreed: disagreed }, { onChange, onProblem, onDiffer }) {
  byId("people").hidden = reviewers.length === 0;
  byId("people").replaceChildren(
    html("h3", { id: "people-title" }, "Reviewers"),
    html(
      "table",
      {},
      html("thead", {}, html("tr", {}, headings(["Reviewer"], ["Cells named", "value"], [""]))),
      html("tbody", {}, reviewers.map((one) => row(one, onChange, onProblem))),
    ),
    agreement.length ? html("ul", { class: "agreement" }, agreement.map(sentence)) : html("p", { class: "hint" }, alone(reviewers)),
    disagreed ? html("p", { class: "actions" }, html("button", { type: "button", class: "small", id: "show-differences", onclick: onDiffer }, `Show the ${plural(disagreed, "cell")} on which they differ`)) : "",
    agreement.length ? html("p", { class: "hint" }, "Cohen’s κ is the agreement beyond chance: 1 is full agreement, 0 is what chance alone gives. The words are those of Landis and Koch (1977). A classifier learns what most reviewers say of a cell.") : "",
  );
}

const alone = (reviewers) =>
  reviewers.length > 1 ? "No two reviewers have named the same cell yet." : "A second reviewer, under another name, sees the same cells without the names of the first.";

function row({ name, n_names: n }, onChange, onProblem) {
  const remove = async () => {
    if (!confirm(`Delete all ${plural(n, "name")} that ${name} has given?`)) return;
    try {
      await deleteReviewer(name);
      await onChange();
    } catch (problem) {
      onProblem(problem);
    }
  };
  return html(
    "tr",
    {},
    html("th", { scope: "row" }, name),
    html("td", { class: "value" }, String(n)),
    html("td", {}, html("button", { type: "button", class: "small", "aria-label": `Delete the names by ${name}`, onclick: remove }, "Delete the names")),
  );
}

function sentence({ reviewers: [first, second], n_cells: n, n_same: same, kappa }) {
  const words = kappa === null ? "κ cannot be told: both gave one and the same type to all of them" : `κ = ${number(kappa)}, ${WORDS.find(([most]) => kappa <= most)[1]}`;
  return html("li", {}, html("strong", {}, `${first} and ${second}`), ` agree on ${same} of ${plural(n, "cell")} that both named (${percent(same / n)}; `, html("b", {}, words), ").");
}
