// The page: it takes tiles and shows their results.

import { Adaptation } from "./adapt.js";
import { bundleCard, bundles, sampleTile, watchKey } from "./api.js";
import { listenToBatches, showBatches } from "./batches.js";
import { showCard } from "./card.js";
import { showCell } from "./cell.js";
import { CellsTable } from "./cells_table.js";
import { Corrections } from "./corrections.js";
import { byId, clusterName, html, plural, swatch } from "./dom.js";
import { showDownloads } from "./downloads.js";
import { showGallery } from "./gallery.js";
import { groupsOf, keyBy } from "./groups.js";
import { Histogram } from "./histogram.js";
import { showLabel, showQuality } from "./label.js";
import { measurementsOf } from "./measurements.js";
import { showLarge, showUnusual } from "./notable.js";
import { picture } from "./picture.js";
import { showProportions } from "./proportions.js";
import { Queue } from "./queue.js";
import { showReference } from "./reference.js";
import { showTissue } from "./tissue.js";
import { showTypes } from "./types.js";
import { Viewer } from "./viewer.js";

const CROP_PX = 32;
/** How often a service of several processes is asked for a bundle that was taught a moment ago, and how long it takes between. */
const [MOST_ASKED, ASK_AGAIN_MS] = [4, 1500];
const MAX_PROBLEMS = 3;

let shown = null;
const cards = new Map();
const viewer = new Viewer(
  (cell, place) => shown && !isBusy(cell, place) && showCell(cell, shown, place),
  (cell) => table.mark(cell),
  (cell, digit) => corrections.byDigit(cell, digit),
);
const corrections = new Corrections({ onCounted: recount, onProblem: (problem, entry) => showProblem(problem, entry.name) });
const adaptation = new Adaptation({ onAdapted: choose });
const table = new CellsTable({
  onChoose: (cell) => viewer.goTo(cell),
  onGoTo: goTo,
  onAll: () => pick(null),
  onProblem: (problem) => showProblem(problem, shown.entry.name),
});
const histogram = new Histogram(pick);
const queue = new Queue({ onDone: done, onFailed: failed, onSelect: (entry) => select(entry) });

function say(text) {
  byId("status").textContent = text;
}

function showProblem(problem, name) {
  const id = problem.requestId ? html("small", {}, ` (request ${problem.requestId})`) : "";
  const dismiss = html("button", { type: "button", class: "small", onclick: () => note.remove() }, "Dismiss");
  const what = [name, problem.title].filter(Boolean).join(": ");
  const note = html("div", { class: "problem" }, html("strong", {}, what), " – ", problem.message, id, " ", dismiss);
  byId("problems").append(note);
  while (byId("problems").children.length > MAX_PROBLEMS) byId("problems").firstChild.remove();
}

async function card(name) {
  if (!cards.has(name)) cards.set(name, await bundleCard(name));
  return cards.get(name);
}

async function done(entry) {
  say(`${entry.name}: ${plural(entry.answer.cells.length, "cell")}, label ${entry.answer.label.value}.`);
  // Of the tiles that were added last, the first result is shown when it arrives. After that, the user chooses.
  if (queue.added.includes(entry)) await select(entry);
  else if (shown) showReference(queue.entries, shown.entry, shown.card);
}

function failed(entry) {
  say("");
  showProblem(entry.problem, entry.name);
}

/** Show the result of a tile, or none. */
async function select(entry) {
  queue.select(entry);
  byId("result").hidden = entry === null;
  if (entry === null) {
    shown = null;
    say("");
    byId("problems").replaceChildren();
    return;
  }
  const { answer } = entry;
  try {
    const [canvas, itsCard] = await Promise.all([picture(entry), card(answer.bundle.name)]);
    // The user may have chosen another tile meanwhile.
    if (queue.selected !== entry) return;
    const { mpp } = itsCard.manifest;
    const side = CROP_PX * (answer.tile.mpp ? mpp / answer.tile.mpp : 1);
    const chooser = (cell, of) => corrections.chooser(cell, of);
    shown = { entry, answer, canvas, card: itsCard, side, measurements: measurementsOf(answer), chooser };
    await show();
  } catch (problem) {
    showProblem(problem, entry.name);
  }
}

async function show() {
  const { entry, answer, canvas, measurements } = shown;
  const { tile, timing_ms: timing, segmentation, bundle } = answer;
  byId("tile-name").textContent = entry.name;
  byId("tile-facts").textContent =
    `${tile.width} × ${tile.height} px, ${tile.mpp ? `${tile.mpp} µm per pixel${tile.mpp_source === "request" ? "" : ", from the file"}` : "scale not given"} · ` +
    `${plural(answer.cells.length, "cell")} · nuclei found by preset ${segmentation.method} · ` +
    `bundle ${bundle.name} ${bundle.version} · ${Math.round(timing.total)} ms`;
  showCell(null, shown);
  showFilter(answer);
  showTissue(answer);
  showLabel(answer, isSimulated(shown.card));
  showQuality(answer);
  adaptation.offer(answer, shown.card);
  showTypes(answer, shown.card);
  corrections.show(entry);
  showProportions(answer);
  showDownloads(entry, (problem) => showProblem(problem, entry.name));
  showGallery(shown, goTo);
  histogram.show(shown, measurements);
  showUnusual(shown, measurements, goTo);
  showLarge(shown, goTo);
  table.show(shown, measurements);
  showReference(queue.entries, entry, shown.card);
  await viewer.show(answer, canvas);
  byId("viewer").dataset.tile = tile.sha256;
}

const isInPanel = () => byId("cell").contains(document.activeElement);

/** Whether the panel of a cell has the focus, as while its type is chosen, and must not be drawn anew because of the pointer. */
const isBusy = (cell, { isChosen }) => cell !== null && isInPanel() && !(isChosen && String(cell.id) !== byId("cell").dataset.cell);

/** Show a tile again after the types of its cells have changed, and leave alone what does not depend on them. */
function recount(entry) {
  queue.draw();
  if (shown?.entry !== entry) return;
  const { answer } = entry;
  const [isLabelNew, wasInPanel] = [JSON.stringify(answer.label) !== JSON.stringify(shown.answer.label), isInPanel()];
  shown.answer = answer;
  showTypes(answer, shown.card);
  showFilter(answer, viewer.hidden);
  if (isLabelNew) showLabel(answer, isSimulated(shown.card));
  table.draw();
  if (wasInPanel) document.activeElement.blur();
  viewer.draw(answer);
  if (wasInPanel) byId("cell-type")?.focus();
}

/** Choose a cell, and bring the picture into sight. */
function goTo(cell) {
  viewer.goTo(cell);
  byId("viewer").scrollIntoView({ block: "center" });
}

/** Let these cells stand out in the picture, and list only them; null shows all again. */
function pick(cells, words) {
  if (cells === null) histogram.release();
  viewer.emphasise(cells);
  table.pick(cells, words);
}

const isSimulated = ({ manifest }) => manifest.image_level.reference.groups.some((group) => group.is_simulated);

/** Offer to hide the cells of each group; those of the keys in `hidden` are hidden already. */
function showFilter(answer, hidden = new Set()) {
  const box = ({ key, name, color, kind }, count) =>
    html(
      "label",
      {},
      html("input", { type: "checkbox", checked: !hidden.has(key), "data-group": key, onchange: (event) => viewer.filter(key, event.target.checked) }),
      swatch(color ?? "", kind),
      `${name} (${count})`,
    );
  const keyOf = keyBy(answer, viewer.by);
  const drawn = (key) => answer.cells.filter((cell) => keyOf(cell) === key).length;
  byId("colors-field").hidden = !answer.types;
  byId("filter").replaceChildren(
    html("legend", {}, "Show the cells of"),
    ...groupsOf(answer, viewer.by).map((group) => box(group, drawn(group.key))),
  );
}

/** Draw the cells in the colours of their types or clusters, and offer to hide these. */
function colorBy(by) {
  viewer.colorBy(by);
  pick(null);
  showFilter(shown.answer);
}

function addFiles(files) {
  const { mpp, bundle } = Object.fromEntries(new FormData(byId("options")));
  if (!byId("mpp").reportValidity() || !byId("bundle").reportValidity() || files.length === 0) return;
  say(`Analysing ${files.length === 1 ? files[0].name : plural(files.length, "tile")} …`);
  queue.add(files, { mpp, bundle });
}

function listen() {
  const drop = byId("intake");
  byId("files").addEventListener("change", (event) => {
    addFiles([...event.target.files]);
    event.target.value = "";
  });
  byId("sample").addEventListener("click", async () => {
    if (!byId("bundle").reportValidity()) return;
    try {
      addFiles([await sampleTile(byId("bundle").value)]);
    } catch (problem) {
      showProblem(problem, "Sample");
    }
  });
  byId("colors").addEventListener("change", (event) => colorBy(event.target.value));
  listenToBatches((problem) => showProblem(problem, "Batch"));
  byId("options").addEventListener("submit", (event) => event.preventDefault());
  byId("bundle").addEventListener("change", ({ target }) => {
    byId("no-bundle")?.remove();
    // The address of the page names the bundle that is chosen.
    history.replaceState(null, "", `?${new URLSearchParams({ bundle: target.value })}`);
    showChosen().catch((problem) => showProblem(problem));
  });
  // A tile may be dropped anywhere on the page: the browser would otherwise leave the page and show the file.
  for (const kind of ["dragover", "dragleave", "drop"])
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
    });
  document.addEventListener("drop", (event) => addFiles([...event.dataTransfer.files]));
}

/** Show the model card of the bundle that is chosen, if one is. */
async function showChosen() {
  const { value: name } = byId("bundle");
  byId("model-card").hidden = !name;
  if (name) showCard(await card(name));
}

/** Return the list of bundles. One that was taught a moment ago may be missing from it still. */
async function bundlesWith(wanted) {
  for (let n = 1; ; n++) {
    const answer = await bundles();
    if (!wanted || n === MOST_ASKED || answer.bundles.some(({ name }) => name === wanted)) return answer;
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}

async function loadBundles() {
  const wanted = new URLSearchParams(location.search).get("bundle");
  const { bundles: found, batches, reviews, adapts } = await bundlesWith(wanted);
  byId("to-review").hidden = !reviews;
  corrections.hasReview = reviews;
  adaptation.isOffered = adapts;
  const isThere = wanted === null || found.some(({ name }) => name === wanted);
  byId("bundle").replaceChildren(
    // Another bundle than the one that was asked for is never taken silently.
    ...(isThere ? [] : [html("option", { value: "", id: "no-bundle", selected: true }, "choose one")]),
    ...found.map(({ name, version, default: isDefault }) => html("option", { value: name, selected: isThere && (wanted === null ? isDefault : name === wanted) }, `${name} ${version}`)),
  );
  if (!isThere) showProblem({ message: `The address of this page asks for the bundle “${wanted}”, which this service does not have. Choose one of: ${found.map(({ name }) => name).join(", ")}.` }, "No such bundle");
  await Promise.all([showChosen(), showBatches(batches)]);
}

/** Choose a bundle that was made a moment ago, in place of an earlier version of it. */
async function choose(name) {
  cards.delete(name);
  history.replaceState(null, "", `?${new URLSearchParams({ bundle: name })}`);
  await loadBundles();
}

async function start() {
  watchKey();
  listen();
  byId("key").addEventListener("change", () => loadBundles().catch((problem) => showProblem(problem)));
  try {
    await loadBundles();
  } catch (problem) {
    showProblem(problem);
  }
}

start();
