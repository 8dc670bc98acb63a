// The model card: what the bundle is, what it was trained on, and how good it is.

import { byId, headings, html, number, percent, plural, swatch } from "./dom.js";

/** How the presets find nuclei. */
const PRESETS = {
  learned: "a network that taught itself",
  default: "many thresholds, of which each nucleus has its own",
  paper: "the constant threshold of the paper",
};

/** Fill the section of the model card. */
export function showCard(card) {
  const { manifest } = card;
  const { image_level: level, training, metrics } = manifest;
  byId("model-card").replaceChildren(
    html("h2", { id: "card-title" }, `Model card: ${card.name}, version ${card.version}`),
    html(
      "dl",
      {},
      entry("Label", level.label_basis),
      entry("Trained on", training.data.map((data) => html("p", {}, `${data.description}: ${data.tiles} tiles, ${data.cells} cells. Source: ${data.source}. Licence: ${data.licence}.`))),
      entry("Scale", `${manifest.mpp} µm per pixel (${manifest.mpp_basis})`),
      entry("Clusters", `${card.n_clusters}; ${names(manifest)}`),
      manifest.cell_classifier ? entry("Cell types", ...taught(manifest.cell_classifier, card.types_warning)) : [],
      entry("Nuclei", `found by ${PRESETS[card.segmentation.method]} (preset ${card.segmentation.method})`),
      entry("Network Q", card.network),
      entry("Licence of the weights", manifest.licence),
      entry("Made", `${manifest.created}, ${training.iterations} generator iterations, code ${training.code_version}`),
      entry("Computes with", `${card.backend} on ${card.device}; precision ${card.precisions.join(" or ")}`),
      card.warnings.length ? entry("Warnings", ...card.warnings) : [],
      entry("SHA-256 of the manifest", html("code", {}, card.sha256)),
    ),
    clusters(metrics.clusters),
    html("p", {}, html("a", { href: `bundles/${encodeURIComponent(card.name)}` }, "The whole manifest (JSON)")),
  );
}

/** Return what the cell classifier was taught, and how right it was on cells that were left out. */
function taught({ types, source, validation, threshold, measurements, neighbours }, warning) {
  const { held_out: heldOut, groups, cells, folds, accuracy } = validation;
  const seen = ["its features", measurements.length ? `${plural(measurements.length, "measurement")} of it` : null, neighbours ? "the features of the four nearest cells" : null].filter(Boolean);
  const [before, after] = [validation.calibration_error_before, validation.calibration_error_after].map((error) => number(error, 3));
  return [
    html("p", {}, `Taught on ${source.created.slice(0, 10)} with ${plural(source.cells, "named cell")} of ${plural(source.tiles, "tile")}${source.reviewers ? `, named by ${plural(source.reviewers, "person").replace("persons", "people")}` : ""}. ` +
      `The type of a cell follows from ${seen.join(", and from ")}. A cell whose largest probability is below ${percent(threshold)} has no type.`),
    warning
      ? html("p", { class: "serious" }, html("strong", {}, "Optimistic: "), warning)
      : html("p", {}, `Measured on ${plural(cells, "named cell")} of ${groups} ${heldOut}, in ${folds} folds; a fold has whole ${heldOut}, which the classifier had not learned from.`),
    html("p", {}, `The most probable type was right for ${percent(accuracy, 1)} of the cells that were left out; its probability was off by ${after} on average, and by ${before} before it was calibrated.${gain(validation)}`),
    byType(types, validation),
    html("details", {}, html("summary", {}, "What was taken for what"), confusion(types, validation)),
  ];
}

const gain = ({ gain_of_50: more }) => (more === null ? "" : ` With 50 more named cells, the mean F is expected to change by ${number(more, 3)}.`);

const byType = (types, validation) =>
  html(
    "table",
    {},
    html("caption", {}, "On named cells that were left out; a cell that got no type counts as not found"),
    html("thead", {}, html("tr", {}, headings(["Type"], ["Cells", "value"], ["Precision", "value"], ["Recall", "value"], ["F", "value"]))),
    html("tbody", {}, validation.types.map(({ n, precision, recall, f }, i) =>
      html("tr", {}, html("th", { scope: "row" }, swatch(types[i].color), types[i].name), [String(n), number(precision), number(recall), number(f)].map((value) => html("td", { class: "value" }, value))),
    )),
  );

/** Return the confusion: a row for each type that people gave, a column for each that the classifier gave. */
const confusion = (types, validation) =>
  html(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "What was taken for what" },
    html(
      "table",
      {},
      html("thead", {}, html("tr", {}, headings(["Named"], ...types.map(({ name }) => [name, "value"]), ["No type", "value"]))),
      html("tbody", {}, validation.confusion.map((row, i) => html("tr", {}, html("th", { scope: "row" }, types[i].name), row.map((n) => html("td", { class: "value" }, String(n)))))),
    ),
  );

const entry = (title, ...content) => [html("dt", {}, title), html("dd", {}, ...content)];

const names = ({ cluster_names: given }) =>
  given?.clusters.length
    ? given.clusters.map(({ cluster, name, by, when }) => `${cluster} named “${name}” by ${by} on ${when.slice(0, 10)}`).join("; ")
    : "none has a name";

const clusters = (measured) =>
  html(
    "table",
    {},
    html("caption", {}, "Measured when the bundle was made: share of the training cells; fidelity and diversity of the prototypes"),
    html("thead", {}, html("tr", {}, headings(["Cluster"], ["Share", "value"], ["Fidelity", "value"], ["Diversity", "value"]))),
    html("tbody", {}, measured.map(({ share, fidelity, diversity }, k) =>
      html("tr", {}, html("th", { scope: "row" }, String(k)), [percent(share, 1), percent(fidelity), number(diversity)].map((value) => html("td", { class: "value" }, value))),
    )),
  );
