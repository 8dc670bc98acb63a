// The tiles of the review: they are put in, listed, exported and taken out.

import { hasKey } from "../api.js";
import { byId, headings, html, plural, save } from "../dom.js";
import { isGeoJson } from "./import.js";
import { addTile, deleteTile, exportAddress, exported } from "./service.js";

let changed = null;
let complain = null;
let say = null;
let importGeoJson = null;
let chosen = [];
let isFirst = true;

/** Connect the section. `onChange()` is called after tiles were put in or taken out, and `onGeoJson(file, image)` with GeoJSON that was dropped. */
export function listenToTiles({ onChange, onProblem, onSay, onGeoJson }) {
  [changed, complain, say, importGeoJson] = [onChange, onProblem, onSay, onGeoJson];
  byId("files").addEventListener("change", ({ target }) => {
    choose([...target.files]);
    target.value = "";
  });
  byId("forget-files").addEventListener("click", () => choose([]));
  byId("use-file-names").addEventListener("click", () => {
    for (const one of chosen) one.name.value = one.file.name.replace(/\.[^.]+$/, "").slice(0, 200);
  });
  byId("chosen").addEventListener("submit", (event) => {
    event.preventDefault();
    putIn();
  });
  // A tile may be dropped anywhere on the page: the browser would otherwise leave the page and show the file.
  for (const kind of ["dragover", "dragleave", "drop"])
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      byId("intake").classList.toggle("over", kind === "dragover");
    });
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    byId("tiles").open = true;
    take([...event.dataTransfer.files]);
  });
}

/** Take files that were dropped: one GeoJSON file with the image of its tile, or without it, or else tiles. */
function take(files) {
  const names = files.filter(isGeoJson);
  const tiles = files.filter((file) => !isGeoJson(file));
  if (names.length === 1 && tiles.length <= 1) importGeoJson(names[0], tiles[0]);
  else if (names.length) complain({ message: "Drop one GeoJSON file at a time, alone or with the image of its tile." }, "Import from QuPath");
  else choose(files);
}

/** List files that were chosen, for the user to say what they are. */
function choose(files) {
  const field = (file, words, example) => html("input", { type: "text", maxlength: 200, placeholder: example, "aria-label": `${words} of ${file.name}`, autocomplete: "off" });
  chosen = files.map((file) => ({ file, name: field(file, "Name", "none"), group: field(file, "Group", "none"), state: html("td", { class: "hint" }) }));
  byId("chosen").hidden = chosen.length === 0;
  byId("chosen-table").replaceChildren(
    html("thead", {}, html("tr", {}, headings(["File"], ["Name in the review"], ["Group: patient or slide"], [""]))),
    html("tbody", {}, chosen.map(({ file, name, group, state }) => html("tr", {}, html("th", { scope: "row" }, file.name), html("td", {}, name), html("td", {}, group), state))),
  );
}

/** Put the chosen tiles in, one after the other; those that are refused stay in the list. */
async function putIn() {
  if (!byId("mpp").reportValidity()) return;
  const mpp = byId("mpp").value;
  const [button, bar] = [byId("put-in"), byId("put-in-progress")];
  let [cells, tiles, done] = [0, 0, 0];
  const refused = [];
  button.disabled = true;
  bar.hidden = false;
  bar.max = chosen.length;
  for (const one of chosen) {
    bar.value = done++;
    say(`Analysing ${one.file.name} …`);
    try {
      const { tile, isNew } = await addTile(one.file, { name: one.name.value.trim(), group: one.group.value.trim(), mpp });
      one.state.textContent = isNew ? plural(tile.n_cells, "cell") : "was there already";
      if (isNew) [cells, tiles] = [cells + tile.n_cells, tiles + 1];
    } catch (problem) {
      refused.push(one.file);
      complain(problem, one.file.name);
    }
  }
  button.disabled = false;
  bar.hidden = true;
  choose(refused);
  byId("tiles").open = refused.length > 0;
  say(`${plural(tiles, "tile")} put in, with ${plural(cells, "cell")} to look at.`);
  await changed();
}

/** List the tiles of the review. */
export function showTiles({ tiles, n_cells: cells, n_named: named, earlier, bundle }) {
  if (isFirst) byId("tiles").open = tiles.length === 0;
  isFirst = false;
  byId("tiles-summary").textContent = tiles.length ? `${plural(tiles.length, "tile")}, ${plural(cells, "cell")}, ${named} named` : "Tiles: none yet";
  byId("files").disabled = bundle.unusable !== null;
  byId("tiles-scroll").hidden = tiles.length === 0;
  byId("tiles-table").replaceChildren(
    html("thead", {}, html("tr", {}, headings(["Tile"], ["Group"], ["Cells", "value"], ["Named", "value"], ["Names"], [""]))),
    html("tbody", {}, tiles.map(row)),
  );
  byId("earlier").hidden = earlier === null;
  if (earlier) byId("earlier").textContent = `${plural(earlier.n_cells, "cell")}, ${earlier.n_named} of them named, are of an earlier version. ${earlier.message}`;
}

function row(tile) {
  const { sha256, group, n_cells: cells, n_named: named } = tile;
  const name = tile.name || `Tile ${sha256.slice(0, 8)}`;
  return html(
    "tr",
    {},
    html("th", { scope: "row", title: `SHA-256 ${sha256}` }, name),
    html("td", {}, group ?? html("span", { class: "hint" }, "the tile alone")),
    html("td", { class: "value" }, String(cells)),
    html("td", { class: "value" }, String(named)),
    html("td", {}, link(sha256, name)),
    html("td", {}, html("button", { type: "button", class: "small", "aria-label": `Take ${name} out`, onclick: () => takeOut(sha256, name, named) }, "Take out")),
  );
}

/** Return a link to the names of a tile. If a key is needed, which a link cannot send, a click saves the file. */
function link(sha256, name) {
  const words = { "aria-label": `GeoJSON of ${name}` };
  const fetched = async () => {
    try {
      save(await exported(sha256), `${name}.geojson`);
    } catch (problem) {
      complain(problem, name);
    }
  };
  return hasKey()
    ? html("button", { type: "button", class: "link", ...words, onclick: fetched }, "GeoJSON")
    : html("a", { href: exportAddress(sha256), download: "", ...words }, "GeoJSON");
}

async function takeOut(sha256, name, named) {
  if (!confirm(`Take ${name} out of the review? Its cells and the names of ${named} of them are deleted.`)) return;
  try {
    await deleteTile(sha256);
    say(`${name} was taken out.`);
    await changed();
  } catch (problem) {
    complain(problem, name);
  }
}
