// The sections of the label and of the tile's quality.

import { byId, clusterName, html, number, percent, plural, swatch } from "./dom.js";

const FLAGS = {
  blurred: "Blurred",
  compressed: "Compressed too much",
  saturated: "Over- or underexposed",
  little_tissue: "Little tissue",
  stain_out_of_range: "Stain unlike the training tiles",
  not_he: "Not H&E",
  no_stain: "No stain found",
  scale_suspect: "Scale in doubt",
  many_outliers: "Many outliers",
  unlike_training_tiles: "Unlike the training tiles",
  few_cells: "Few cells",
  mpp_unknown: "Scale not given",
  scale_conflict: "Scale unlike the file's",
  mpp_from_objective: "Scale from the objective",
  orientation_ignored: "Not turned",
  icc_profile_ignored: "Colour profile not applied",
};

/** Return the code of a flag in words. */
export const flagName = (code) => FLAGS[code] ?? code.replaceAll("_", " ");

/** Fill the section of the label. */
export function showLabel({ label, clusters }, isSimulated) {
  byId("label").replaceChildren(
    html("h3", { id: "label-title" }, "Label"),
    html(
      "p",
      { class: `verdict ${label.value}` },
      html("strong", {}, label.value),
      isSimulated ? html("span", { class: "tag" }, "simulated") : null,
    ),
    html("p", {}, label.reason),
    label.within_reference ? html("p", {}, ...region(label.within_reference)) : "",
    html("p", { class: "basis" }, label.basis),
    label.score === null ? "" : drivers(label, clusters),
  );
}

const region = ({ value, distance, threshold, n_tiles: n }) => [
  `Composition within the reference region of ${plural(n, "tile")}: `,
  html("strong", {}, value ? "yes" : "no"),
  ` (distance ${number(distance)}, threshold ${number(threshold)}).`,
];

function drivers(label, clusters) {
  const rows = [
    ...clusters.map((cluster) => [swatch(cluster.color), clusterName(cluster), cluster.contribution, cluster.color]),
    ...(label.measurement_contributions ?? []).map(({ title, contribution }) => [null, `${title}, median`, contribution, "currentColor"]),
    [null, "Bias", label.bias, "currentColor"],
  ];
  const largest = Math.max(...rows.map(([, , part]) => Math.abs(part)));
  return html(
    "details",
    {},
    html("summary", {}, "What the score is made of"),
    html(
      "table",
      { class: "bars" },
      html("caption", {}, "Parts of the score: those above 0 point to abnormal, those below 0 to normal"),
      html("tbody", {}, rows.map(([square, name, part, color]) => driver(square, name, part / largest, part, color))),
      html("tfoot", {}, html("tr", {}, html("th", { scope: "row" }, "Score"), html("td"), html("td", { class: "value" }, number(label.score)))),
    ),
    html(
      "ul",
      {},
      html(
        "li",
        {},
        label.conformal_set === null
          ? "Which labels have such scores is not known: the bundle was fitted to too few examples."
          : `Labels whose examples have such a score: ${label.conformal_set.join(", ") || "none"}.`,
      ),
      html("li", {}, `The nearest k-means centre is ${label.kmeans}.`),
      html(
        "li",
        {},
        label.probability === null
          ? "There is no calibrated probability."
          : `Probability of abnormal: ${percent(label.probability)}, calibrated on ${label.calibrated_on.normal} normal and ${label.calibrated_on.abnormal} abnormal tiles.`,
      ),
    ),
  );
}

function driver(square, name, share, part, color) {
  const width = `${50 * Math.abs(share)}%`;
  const place = share < 0 ? { right: "50%" } : { left: "50%" };
  return html(
    "tr",
    {},
    html("th", { scope: "row" }, square, name),
    html("td", { class: "track middle" }, html("span", { class: "bar", style: { width, "background-color": color, ...place } })),
    html("td", { class: "value" }, number(part)),
  );
}

/** Fill the section of the tile's quality. */
export function showQuality({ quality, tile }) {
  const cut = tile.cut_nuclei;
  byId("quality").replaceChildren(
    html("h3", { id: "quality-title" }, "Quality of the tile"),
    quality.flags.length
      ? html("ul", { class: "flags" }, quality.flags.map(flag))
      : html("p", {}, "Nothing is wrong with this tile."),
    html(
      "p",
      { class: "hint" },
      `Focus ${number(quality.focus)}, stain distance ${number(quality.stain_distance, 1)}, tissue ${percent(quality.tissue_fraction)}. `,
      cut ? `${cut} ${cut === 1 ? "nucleus" : "nuclei"} mostly outside the tile ${cut === 1 ? "is" : "are"} left out.` : "",
    ),
  );
}

const flag = ({ code, message, prevents_label: prevents }) =>
  html(
    "li",
    { class: prevents ? "serious" : "" },
    html("strong", {}, flagName(code)),
    prevents ? html("span", { class: "tag" }, "prevents a label") : null,
    html("br"),
    message,
  );
