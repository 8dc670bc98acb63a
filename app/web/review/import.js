// Names of cells from QuPath: a GeoJSON file and its tile are chosen, and what names no cell is counted and listed.

import { hasKey, Problem } from "../api.js";
import { byId, html, plural } from "../dom.js";
import { addTile, importNames } from "./service.js";

const GEOJSON = /\.(geo)?json$/i;

export const isGeoJson = (file) => GEOJSON.test(file.name);

/**
 * Connect the dialog. `before()` is awaited before names are sent, `tiles()` gives the tiles of the review, and `onChange()` is called after
 * an import. Returns `openImport(geojson, image)`, both of which may be missing.
 */
export function listenToImport({ before, tiles, onChange, onSay }) {
  let dropped = { geojson: null, image: null };
  const chosen = (what) => byId(`import-${what}`).files[0] ?? dropped[what];

  async function openImport(geojson = null, image = null) {
    dropped = { geojson, image };
    byId("import-form").reset();
    byId("import-result").replaceChildren();
    byId("import-person").textContent = hasKey() ? "the name of your key" : byId("person").value.trim() || "reviewer";
    const all = tiles();
    byId("import-tile").replaceChildren(
      html("option", { value: "" }, "an image that I choose"),
      ...all.map(({ sha256, name, group }) => html("option", { value: sha256 }, [name || `Tile ${sha256.slice(0, 8)}`, group].filter(Boolean).join(", "))),
    );
    for (const what of ["geojson", "image"]) showDropped(what);
    byId("import").showModal();
    await guess();
  }

  function showDropped(what) {
    byId(`import-${what}-dropped`).textContent = dropped[what] && !byId(`import-${what}`).files.length ? dropped[what].name : "";
    byId(`import-${what}`).required = what === "geojson" ? !dropped[what] : !dropped[what] && byId("import-tile").value === "";
  }

  /** Choose the tile that the file says it belongs to, or else the only one of its name, as the command does. */
  async function guess() {
    const file = chosen("geojson");
    if (file && !chosen("image")) {
      const said = await tileSaid(file);
      const stem = file.name.replace(GEOJSON, "");
      const found = tiles().filter(({ sha256, name }) => (said ? sha256 === said : name.replace(/\.[^.]+$/, "") === stem));
      if (found.length === 1) byId("import-tile").value = found[0].sha256;
    }
    showImage();
  }

  function showImage() {
    byId("import-image-fields").hidden = byId("import-tile").value !== "";
    showDropped("image");
  }

  async function send() {
    await before();
    const image = byId("import-tile").value === "" ? chosen("image") : null;
    const fields = { group: byId("import-group").value.trim(), mpp: byId("import-mpp").value };
    let tile = byId("import-tile").value;
    if (image) {
      onSay(`Analysing ${image.name} …`);
      tile = (await addTile(image, fields)).tile.sha256;
    }
    try {
      return await importNames(chosen("geojson"), { tile, addTypes: byId("import-add-types").checked });
    } catch (problem) {
      if (image) await onChange();
      throw image ? new Problem(problem.status, problem.title, `${problem.message} The tile is in the review.`, problem.requestId) : problem;
    }
  }

  byId("open-import").addEventListener("click", () => openImport());
  byId("import-close").addEventListener("click", () => byId("import").close());
  byId("import-geojson").addEventListener("change", () => {
    showDropped("geojson");
    guess();
  });
  byId("import-image").addEventListener("change", showImage);
  byId("import-tile").addEventListener("change", showImage);
  byId("import-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = byId("import-start");
    button.disabled = true;
    byId("import-result").replaceChildren(html("p", {}, "Importing …"));
    try {
      const result = await send();
      byId("import-result").replaceChildren(...words(result));
      onSay(named(result));
      await onChange();
    } catch (problem) {
      onSay("");
      const id = problem.requestId ? html("small", {}, ` (request ${problem.requestId})`) : "";
      byId("import-result").replaceChildren(html("p", { class: "problem" }, html("strong", {}, "No name was imported"), " – ", problem.message, id));
    }
    button.disabled = false;
    byId("import-result").focus();
  });
  return { openImport };
}

/** Return the checksum of the tile that one of our own files says it belongs to; null if it says none. */
async function tileSaid(file) {
  try {
    return JSON.parse(await file.text()).tile?.sha256 ?? null;
  } catch {
    // What is wrong with the file is said when it is sent.
    return null;
  }
}

const named = ({ n_named: n, n_changed: changed }) => `${plural(n, "cell")} named by the file, ${changed} of them new or changed.`;

function words(result) {
  const { n_unmatched: n, unmatched } = result;
  const lost = n === 0 ? "Every named object of the file was matched to a nucleus." : `${plural(n, "named object")} of the file ${n === 1 ? "was" : "were"} not matched to a nucleus.`;
  return [
    html("p", {}, html("strong", {}, named(result))),
    html("p", {}, lost),
    unmatched.length
      ? html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What was not used, and why" }, html("ul", {}, unmatched.map((sentence) => html("li", {}, sentence))))
      : "",
  ];
}
