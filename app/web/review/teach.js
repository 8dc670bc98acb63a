// Teaching a classifier, and what was measured on the cells that it did not learn from.

import { byId, headings, html, number, percent, plural, swatch } from "../dom.js";
import { teach } from "./service.js";

/** As app/review/classifier.py has them. */
const [CELLS_OF_A_TYPE, LEAST_CELLS] = [5, 10];
/** The most of the accent in a cell of the table of errors: numbers on it keep a contrast of 4.5 in both themes. */
const DARKEST = 45;
/** The types that too few cells have to be learned. */
let few = [];

/** Connect the form. `before()` is awaited before a classifier is taught, and `onTaught()` is called afterwards. */
export function listenToTeach({ before, onTaught, onSay }) {
  byId("teach-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = byId("teach-start");
    button.disabled = true;
    byId("teach-problem").replaceChildren();
    onSay("Teaching …");
    try {
      await before();
      const groups = byId("groups-field").hidden ? null : byId("groups").value || null;
      const leaveOut = byId("leave-out").checked ? few.map(({ name }) => name) : [];
      const result = await teach({ name: byId("teach-name").value, groups, leaveOut });
      show(result);
      onSay(`The bundle ${result.name} ${result.version} was taught.`);
      await onTaught();
    } catch (problem) {
      onSay("");
      byId("teach-problem").replaceChildren(html("p", { class: "problem" }, html("strong", {}, "Nothing was taught"), " – ", problem.message));
    }
    button.disabled = false;
  });
}

/** Say whether there are enough named cells, and ask what the groups are if there are any. */
export function showReady({ types, tiles }) {
  byId("teach").hidden = types.length === 0;
  byId("groups-field").hidden = !tiles.some(({ group }) => group);
  const enough = types.filter(({ count }) => count >= CELLS_OF_A_TYPE).length;
  const named = tiles.filter(({ n_named: n }) => n > 0);
  const groups = new Set(named.map(({ group, sha256 }) => group ?? sha256)).size;
  // What they are called if the person does not say it, as app/review/reviews.py has it.
  byId("groups-unsaid").textContent = groups === named.length ? "tiles" : "groups, not said of what";
  few = types.filter(({ count }) => count > 0 && count < CELLS_OF_A_TYPE);
  byId("leave-out-field").hidden = few.length === 0;
  byId("leave-out-words").textContent = `Leave out what fewer than ${CELLS_OF_A_TYPE} cells are: ${few.map(({ name, count }) => `${name} (${count})`).join(", ")}. Their names are kept.`;
  const sentences = [
    enough < 2 ? `At least two types need ${CELLS_OF_A_TYPE} named cells each, and all together ${LEAST_CELLS}.` : null,
    enough >= 2 && groups < 3 ? `The named cells are of ${plural(groups, "group")}; with fewer than three, the figures are optimistic.` : null,
  ];
  byId("teach-ready").textContent = sentences.filter(Boolean).join(" ");
}

function show(result) {
  const { types, validation, name, version, types_warning: warning } = result;
  byId("taught").hidden = false;
  byId("taught").replaceChildren(
    html("h4", {}, `Bundle ${name}, version ${version}`),
    html("p", {}, ...source(result)),
    warning ? html("p", { class: "problem" }, html("strong", {}, "Optimistic: "), warning) : "",
    html("p", {}, gain(validation)),
    html("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "How right it is, by type" }, byType(types, validation)),
    html("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "What was taken for what" }, confusion(types, validation)),
    html("p", { class: "hint" }, "A row is what people named, a column what the classifier said. The darker, the larger the share of the row."),
    html("p", {}, html("a", { href: `.?${new URLSearchParams({ bundle: name })}` }, "Analyse tiles with it")),
  );
  byId("taught").focus();
}

function source({ validation: { held_out: what, groups, cells, folds, accuracy }, source: { cells: learned, tiles }, threshold, measurements, neighbours }) {
  const seen = ["features", measurements.length ? plural(measurements.length, "measurement") : null, neighbours ? "those of the nearest cells" : null].filter(Boolean);
  return [
    `It learned from ${plural(learned, "named cell")} of ${plural(tiles, "tile")}, by their ${seen.join(" and ")}. `,
    folds ? `On ${plural(cells, "cell")} that it had not learned from, of ${groups} ${groups === 1 ? what.slice(0, -1) : what}, its most probable type was right for ` : "It is right for ",
    html("strong", {}, percent(accuracy, 1)),
    threshold > 0 ? `. A cell that it is less than ${percent(threshold)} sure of gets no type.` : ". Every cell gets a type.",
  ];
}

/** Say what 50 more cells would bring. */
function gain({ gain_of_50: more, learning_curve: curve }) {
  const now = curve.length ? ` With all cells, F is ${number(curve.at(-1).f)} on average over the types, before any cell is left without a type.` : "";
  if (more === null) return `What more named cells would bring cannot be told yet.${now}`;
  const change = more < 0.005 ? "hardly change F" : `raise F by about ${number(more)}`;
  return `Another 50 named cells would ${change} on average over the types.${now}`;
}

const byType = (types, { types: measured }) =>
  html(
    "table",
    { id: "taught-types" },
    html("caption", {}, "On cells that were left out. Precision: of the cells that got the type, the share that people named so. Recall: of the cells that people named so, the share that got it."),
    html("thead", {}, html("tr", {}, headings(["Type"], ["Cells", "value"], ["Precision", "value"], ["Recall", "value"], ["F", "value"]))),
    html("tbody", {}, types.map(({ name, color }, i) =>
      html("tr", {}, html("th", { scope: "row" }, swatch(color), name), [String(measured[i].n), number(measured[i].precision), number(measured[i].recall), number(measured[i].f)].map((text) => html("td", { class: "value" }, text))),
    )),
  );

const confusion = (types, { confusion: rows }) =>
  html(
    "table",
    { id: "confusion" },
    html("caption", {}, "What was taken for what"),
    html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "Named"), [...types.map(({ name }) => name), "No type"].map((text) => html("th", { scope: "col", class: "value" }, text)))),
    html("tbody", {}, rows.map((row, i) => {
      const all = row.reduce((a, b) => a + b, 0);
      return html("tr", {}, html("th", { scope: "row" }, types[i].name), row.map((n, j) => {
        const share = all ? n / all : 0;
        return html("td", { class: `value${i === j ? " right-one" : ""}`, title: all ? `${percent(share)} of ${types[i].name}` : null, style: { "--share": `${Math.round(DARKEST * share)}%` } }, String(n));
      }));
    })),
  );
