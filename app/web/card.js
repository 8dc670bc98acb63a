// The model card: what the bundle is, what it was trained on, and how good it is.

import { byId, headings, html, number, percent } from "./dom.js";

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
