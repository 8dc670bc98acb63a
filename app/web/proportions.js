// The section of proportions: a bar for each cluster, with its interval.

import { byId, clusterName, headings, html, number, percent, plural, svg, swatch } from "./dom.js";

/** Fill the section of proportions. */
export function showProportions({ clusters, outliers }) {
  const top = Math.max(0.05, ...clusters.map(({ interval }) => interval?.[1] ?? 0));
  const scale = Math.min(1, Math.ceil(top * 10) / 10);
  byId("proportions").replaceChildren(
    html("h3", { id: "proportions-title" }, "Proportions"),
    html(
      "table",
      { class: "bars" },
      html(
        "thead",
        {},
        html("tr", {}, headings(["Cluster"], ["Cells", "value"], [`0 – ${percent(scale)}`], ["Share", "value"], ["95% interval", "value"])),
      ),
      html("tbody", {}, clusters.map((cluster) => row(cluster, scale))),
    ),
    html(
      "p",
      { class: "hint" },
      "With 95% confidence, all intervals together hold the proportions of the tissue that the cells come from. ",
      outliers.share === null ? "" : inWords(outliers),
    ),
  );
}

const inWords = ({ count, share }) =>
  count
    ? `${plural(count, "cell")} unlike any training cell (${percent(share, 1)}) ${count === 1 ? "is" : "are"} not counted.`
    : "No cell is unlike the training cells.";

function row(cluster, scale) {
  const { color, count, proportion, interval } = cluster;
  return html(
    "tr",
    {},
    html("th", { scope: "row" }, swatch(color), clusterName(cluster)),
    html("td", { class: "value" }, String(count)),
    html("td", { class: "track" }, proportion === null ? "" : bar(color, proportion / scale, interval.map((end) => end / scale))),
    html("td", { class: "value" }, percent(proportion, 1)),
    html("td", { class: "value" }, interval ? interval.map((end) => number(100 * end, 1)).join("–") + "%" : "–"),
  );
}

/** Return a bar with a whisker from low to high, which are shares of its width. */
const bar = (color, share, [low, high]) =>
  svg(
    "svg",
    { class: "whisker", viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { x: 0, y: 3, width: 100 * share, height: 14, fill: color }),
    svg("path", { d: `M${100 * low} 10H${100 * high}M${100 * low} 5v10M${100 * high} 5v10` }),
  );
