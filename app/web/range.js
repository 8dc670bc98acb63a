// A reference range: in words, and as a band behind a bar.

import { html, plural, svg } from "./dom.js";

/** Return "18.0–35.2%" and the like; `text` gives a number in the unit of the range. */
export const ends = ({ low, high }, text, unit = "") => `${text(low)}–${text(high)}${unit}`;

/** Return on how many tiles and patients the range rests, and that it is only indicative where it is. */
export const restsOn = ({ indicative, n_tiles: tiles, n_patients: patients }) =>
  `${indicative ? "indicative: " : ""}${plural(tiles, "tile")}${patients ? ` of ${plural(patients, "patient")}` : ""}`;

/** Return between which values the limits of the range lie. */
export const uncertainty = ({ low_interval: low, high_interval: high }, text, unit = "") =>
  `With 90% confidence, the lower limit is ${low.map(text).join("–")}${unit} and the upper limit ${high.map(text).join("–")}${unit}.`;

/** Return low or high as a mark that stands out; nothing where the value is within the range or cannot be judged. */
export const flagged = (range) =>
  range?.flag === "low" || range?.flag === "high" ? html("span", { class: "flag" }, `${range.flag === "low" ? "▼" : "▲"} ${range.flag}`) : null;

/** Return the band of a range in a drawing whose `width` stands for the value `top`. */
export const band = (range, top, width, height) => {
  if (!range) return null;
  const [low, high] = [range.low, range.high].map((end) => (width * Math.min(top, Math.max(0, end))) / top);
  return svg("rect", { class: "band", x: low, y: 0, width: high - low, height });
};
