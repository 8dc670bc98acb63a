// The section of proportions: a bar for each cluster, with its interval, before the range of the reference tiles.

import { byId, clusterName, headings, html, number, percent, plural, svg, swatch } from "./dom.js";
import { band, ends, flagged, restsOn, uncertainty } from "./range.js";

const WIDTH = 100;
const HEIGHT = 20;

/** Fill the section of proportions. */
export function showProportions({ clusters, outliers }) {
  const scale = scaleOf(clusters);
  const withRange = clusters.some(({ reference }) => reference);
  byId("proportions").replaceChildren(
    html("h3", { id: "proportions-title" }, "Proportions"),
    html("div", { class: "scrolls" }, table(clusters, scale, withRange)),
    html(
      "p",
      { class: "hint" },
      "With 95% confidence, all intervals together hold the proportions of the tissue that the cells come from. ",
      outliers.share === null ? "" : inWords(outliers),
      withRange ? ` The grey band behind a bar is the range of the reference tiles (${basis(clusters)}).` : "",
    ),
  );
}

/** Return the share at which the scale of the bars ends: the next tenth above all intervals and ranges. */
export function scaleOf(shares) {
  const top = Math.max(0.05, ...shares.flatMap(({ interval, reference }) => [interval?.[1] ?? 0, reference?.high ?? 0]));
  return Math.min(1, Math.ceil(top * 10) / 10);
}

function table(clusters, scale, withRange) {
  const columns = [["Cluster"], ["Cells", "value"], [`0 – ${percent(scale)}`], ["Share", "value"], ["95% interval", "value"]];
  if (withRange) columns.push(["Reference range", "value"]);
  return html(
    "table",
    { class: "bars" },
    html("thead", {}, html("tr", {}, headings(...columns))),
    html("tbody", {}, clusters.map((cluster) => [row(cluster, scale, withRange), sentence(cluster, columns.length)])),
  );
}

const inWords = ({ count, share }) =>
  count
    ? `${plural(count, "cell")} unlike any training cell (${percent(share, 1)}) ${count === 1 ? "is" : "are"} not counted.`
    : "No cell is unlike the training cells.";

const basis = (clusters) => restsOn(clusters.find(({ reference }) => reference).reference);

function row(cluster, scale, withRange) {
  const { color, count, proportion, interval, reference } = cluster;
  return html(
    "tr",
    {},
    html("th", { scope: "row" }, swatch(color), clusterName(cluster)),
    html("td", { class: "value" }, String(count)),
    html("td", { class: "track" }, bar(cluster, scale)),
    html("td", { class: "value" }, percent(proportion, 1)),
    html("td", { class: "value" }, interval ? interval.map((end) => number(100 * end, 1)).join("–") + "%" : "–"),
    withRange ? html("td", { class: "value", title: reference && uncertainty(reference, inPercents, "%") }, reference ? [flagged(reference), " ", ends(reference, inPercents, "%")] : "–") : null,
  );
}

const sentence = ({ description }, columns) =>
  description ? html("tr", { class: "hint" }, html("td", { colspan: columns }, description.sentence)) : null;

const inPercents = (share) => number(100 * share, 1);

/** Return the bar of a proportion with a whisker for its interval, before the band of its reference range. */
export function bar({ color, proportion, interval, reference }, scale) {
  const [low, high] = (interval ?? []).map((end) => (WIDTH * end) / scale);
  return svg(
    "svg",
    { class: "whisker", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    band(reference, scale, WIDTH, HEIGHT),
    proportion !== null && svg("rect", { x: 0, y: 4, width: (WIDTH * proportion) / scale, height: 12, fill: color }),
    interval && svg("path", { d: `M${low} 10H${high}M${low} 5v10M${high} 5v10` }),
  );
}
