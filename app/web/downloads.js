// The section of downloads: the answer as files for QuPath, a spreadsheet or a notebook.

import { analyse } from "./api.js";
import { byId, html, save } from "./dom.js";

const FORMATS = [
  ["geojson", ".geojson", "GeoJSON", "for QuPath: drop it on the tile"],
  ["csv", ".csv", "CSV", "a row per cell"],
  ["overlay", ".overlay.png", "Outlines", "PNG"],
  ["labels", ".labels.png", "Labels", "16-bit PNG: 0 background, i + 1 cell i"],
  ["json", ".json", "JSON", "the whole answer"],
];

/** Fill the section. `onProblem(problem)` is called with every error. */
export function showDownloads(entry, onProblem) {
  byId("downloads").replaceChildren(
    html("h3", { id: "downloads-title" }, "Download"),
    html("ul", { class: "downloads" }, FORMATS.map((format) => html("li", {}, ...item(entry, format, onProblem)))),
  );
}

const item = (entry, [format, , title, hint], onProblem) => [downloadButton(entry, format, title, onProblem), " ", html("span", { class: "hint" }, hint)];

/** Return a button that saves the answer in a format. */
export function downloadButton(entry, format, title, onProblem) {
  const [, suffix] = FORMATS.find(([name]) => name === format);
  const download = async () => {
    button.disabled = true;
    try {
      save(await contents(entry, format), entry.name.replace(/\.[^.]*$/, "") + suffix);
    } catch (problem) {
      onProblem(problem);
    }
    button.disabled = false;
  };
  const button = html("button", { type: "button", "data-format": format, onclick: download }, title);
  return button;
}

const contents = (entry, format) =>
  format === "json"
    ? new Blob([JSON.stringify(entry.answer, null, 2)], { type: "application/json" })
    : analyse(entry.file, entry.options, format);
