// The page of the review: people look at cells, name their types, and teach a classifier.

import { bundleCard, bundles, hasKey, watchKey } from "../api.js";
import { byId, html, plural } from "../dom.js";
import { listenToImport } from "./import.js";
import { Names } from "./names.js";
import { showPeople } from "./people.js";
import { Plot } from "./plot.js";
import { nextCells, progress as askProgress } from "./service.js";
import { listenToTeach, showReady } from "./teach.js";
import { listenToTiles, showTiles } from "./tiles.js";
import { Types } from "./types.js";
import { Wall } from "./wall.js";

const PERSON = "marrowscope-reviewer";
const PAGE = 40;
const MAX_ASKED = 100;
const MAX_PROBLEMS = 3;
/** The kinds whose cells come although they have names. */
const LISTED = ["disagreed", "named"];

let now = null;
/** What the wall shows: the ids of the cells of a lasso, or null; and all cells of this kind that were shown so far, by id. */
let source = { ids: null, seen: new Map(), seed: 0 };
/** Only the answer to the last question is shown. */
let asked = 0;

const wall = new Wall({ onSelect: selected, onKey: press });
const plot = new Plot({ onTake: take, onProblem: showProblem });
const names = new Names({ onChange: retyped, onProgress: show, onProblem: showProblem, onWaiting: showWaiting });
const types = new Types({ onName: (type) => name(type), onKeep: () => names.save(), onKept: keptTypes });

function say(text) {
  byId("status").textContent = text;
}

function showProblem(problem, what) {
  const id = problem.requestId ? html("small", {}, ` (request ${problem.requestId})`) : "";
  const dismiss = html("button", { type: "button", class: "small", onclick: () => note.remove() }, "Dismiss");
  const title = what ?? (problem.status === 0 ? problem.title : "This was not done");
  const note = html("div", { class: "problem" }, html("strong", {}, title), " – ", problem.message, id, " ", dismiss);
  byId("problems").append(note);
  while (byId("problems").children.length > MAX_PROBLEMS) byId("problems").firstChild.remove();
}

/** Do what may be refused, and show why. */
async function attempt(work) {
  try {
    return await work();
  } catch (problem) {
    showProblem(problem);
    return null;
  }
}

/** Show how far the review is. */
function show(progress) {
  now = progress;
  const { bundle, tiles, reviewer } = progress;
  byId("tiles").hidden = false;
  byId("review").hidden = tiles.length === 0 || bundle.unusable !== null;
  byId("off").hidden = bundle.unusable === null;
  byId("off").textContent = bundle.unusable ?? "";
  byId("person-field").hidden = hasKey();
  byId("who-words").textContent = hasKey() ? `You name cells as ${reviewer}, the name of your key.` : "";
  showTiles(progress);
  types.show(progress);
  showPeople(progress, { onChange: reload, onProblem: showProblem, onDiffer: () => choose("disagreed") });
  showReady(progress);
  fillTypes(progress);
  wall.relabel(progress.types);
  plot.retype([], progress.types);
  selected();
}

function fillTypes({ types: all }) {
  const chosen = byId("of-type").value;
  byId("of-type").replaceChildren(html("option", { value: "" }, "any"), ...all.map(({ name: one }) => html("option", { value: one, selected: one === chosen }, one)));
}

async function fillClusters({ bundle: { name: of, n_clusters: n } }) {
  const { manifest } = await bundleCard(of);
  const given = new Map((manifest.cluster_names?.clusters ?? []).map((one) => [one.cluster, one.name]));
  const words = (k) => given.get(k) ?? manifest.descriptions?.clusters[k]?.sentence;
  byId("cluster").replaceChildren(
    html("option", { value: "" }, "all"),
    ...Array.from({ length: n }, (_, k) => html("option", { value: k }, words(k) ? `${k}: ${words(k)}` : String(k))),
  );
}

/** Ask anew for everything: another bundle, reviewer or key, other tiles. */
async function reload() {
  names.forget();
  await attempt(async () => {
    const progress = await askProgress();
    await fillClusters(progress);
    show(progress);
    if (!byId("review").hidden) await Promise.all([plot.load().then(() => plot.retype(asPlotted(names.unsaved))), look()]);
  });
}

/** Show the first cells of the kind that is chosen. */
async function look() {
  source = { ids: null, seen: new Map(), seed: Math.floor(Math.random() * 2 ** 31) };
  await advance(true);
}

/** Show other cells in place of those that are there, or more below them. */
async function advance(isNew) {
  const mine = ++asked;
  byId("wall").setAttribute("aria-busy", "true");
  const found = await attempt(further);
  if (mine !== asked) return;
  if (found !== null) await fill(found, isNew);
  if (mine === asked) byId("wall").setAttribute("aria-busy", "false");
}

async function fill(found, isNew) {
  const { cells, left, reason } = found;
  const { unsaved } = names;
  for (const cell of cells) {
    if (unsaved.has(cell.id)) cell.type = unsaved.get(cell.id);
    source.seen.set(cell.id, cell);
  }
  const begin = isNew ? 0 : wall.cells.length;
  if (isNew) await wall.show(cells);
  else await wall.append(cells);
  wall.relabel(now.types);
  byId("no-cells").hidden = wall.cells.length > 0 && cells.length > 0;
  byId("no-cells").textContent = reason ?? "These are all.";
  byId("wall").hidden = wall.cells.length === 0;
  byId("left-words").textContent = left ? `${plural(left, "further cell")} of this kind` : "";
  byId("next").disabled = byId("more").disabled = left === 0;
  byId("wall-words").textContent = shownWords(found);
  if (!isNew && cells.length) wall.goTo(begin);
  selected();
}

/** Return the next cells of the source that have not been shown. */
async function further() {
  if (source.ids) {
    const wanted = source.ids.filter((id) => !source.seen.has(id)).slice(0, MAX_ASKED);
    if (!wanted.length) return { cells: [], left: 0, reason: source.ids.length ? "These are all." : "There is no cell in this part of the plot.", learned: null };
    const { cells, learned_from: learned } = await nextCells({ cells: wanted.join(",") });
    return { cells, left: source.ids.length - source.seen.size - cells.length, reason: null, learned };
  }
  await names.sent;
  const { unsaved } = names;
  const [kind, cluster, type] = ["kind", "cluster", "of-type"].map((id) => byId(id).value);
  // Those that were named since do not come again, and the others stand before those that come now.
  const stays = (cell) => (LISTED.includes(kind) ? kind !== "named" || (type ? cell.type === type : cell.type !== null) : cell.type === null);
  let skip = [...source.seen.values()].filter((cell) => unsaved.has(cell.id) || stays(cell)).length;
  for (;;) {
    const answer = await nextCells({ kind, cluster, type, seed: source.seed, skip, n: PAGE });
    const cells = answer.cells.filter(({ id }) => !source.seen.has(id));
    skip += answer.cells.length;
    // A classifier that has learned meanwhile puts the cells into another order.
    if (cells.length || !answer.n_left) return { cells, left: answer.n_left, reason: answer.reason, learned: answer.learned_from };
  }
}

function shownWords({ learned }) {
  const what = source.ids ? `${plural(source.ids.length, "cell")} of the plot. ` : "";
  return what + (learned ? `The types in italics are guesses of a classifier that has learned from ${plural(learned, "named cell")}.` : "");
}

/** Show the cells that were taken out of the plot. */
async function take(ids) {
  source = { ids, seen: new Map(), seed: 0 };
  say(ids.length ? `${plural(ids.length, "cell")} taken out of the plot.` : "There is no cell in this part of the plot.");
  await advance(true);
  byId("wall-panel").scrollIntoView({ block: "start" });
  byId("wall").focus({ preventScroll: true });
}

/** Choose a kind of cells, and show them. */
async function choose(kind) {
  byId("kind").value = kind;
  byId("cluster").value = byId("of-type").value = "";
  await look();
  byId("wall-panel").scrollIntoView({ block: "start" });
}

/** Name the selected cells; if none is selected, the cell in focus, and go on to the next. */
function name(type) {
  const some = wall.selected;
  const cells = some.length ? some : [wall.focused].filter(Boolean);
  if (!cells.length) return say("There is no cell to name.");
  say(names.give(cells, type));
  if (some.length) wall.selectNone();
  else wall.goTo(wall.at + 1);
  byId("wall").focus({ preventScroll: true });
}

function undo() {
  say(names.undo());
  selected();
}

const asPlotted = (of) => [...of].map(([id, type]) => ({ id, type }));

/** Show cells with other types, by their ids. */
function retyped(changed) {
  for (const cell of [...wall.cells, ...source.seen.values()]) if (changed.has(cell.id)) cell.type = changed.get(cell.id);
  wall.relabel(now.types, (id) => changed.has(id));
  plot.retype(asPlotted(changed));
  selected();
}

/** Show which names are not saved yet, and why. */
function showWaiting() {
  const { nUnsaved: n, problem, unsaved } = names;
  byId("saving").textContent = n === 0 ? "" : problem ? `${plural(n, "name")} not saved yet` : `Saving ${plural(n, "name")} …`;
  byId("unsaved").hidden = !problem;
  const words = problem && `Names are not saved. ${problem.message} They are kept on this page${problem.status === 401 ? "." : ", and sent again by themselves."}`;
  // An unchanged text is not read out again.
  if (problem && byId("unsaved-words").textContent !== words) byId("unsaved-words").textContent = words;
  wall.markUnsaved(unsaved, problem !== null);
}

function keptTypes(progress, renamed) {
  names.rename(renamed);
  for (const cell of source.seen.values()) if (cell.type !== null) cell.type = renamed[cell.type] ?? null;
  plot.rename(renamed);
  show(progress);
  say(`${plural(progress.types.length, "type")} kept.`);
}

/** Show what is selected, and what can be done with it. */
function selected() {
  byId("n-selected").textContent = wall.words;
  byId("take-back").disabled = !(wall.selected.length ? wall.selected : [wall.focused]).some((cell) => cell && cell.type !== null);
  byId("undo").disabled = names.last === null;
  byId("undo").title = names.last === null ? "" : `Undo: ${names.last} (Ctrl+Z)`;
  plot.mark(wall.cells.map(({ id }) => id), wall.chosen);
}

/** Do what a key of the wall stands for; false if it stands for nothing. */
function press(key) {
  const digit = Number(key);
  if (key === "0" || key === "Backspace" || key === "Delete") name(null);
  else if (digit >= 1 && digit <= 9) {
    const type = now.types[digit - 1];
    if (type) name(type.name);
    else say(`There is no type ${digit}.`);
  } else if (key === "n" && !byId("next").disabled) advance(true);
  else if (key === "m" && !byId("more").disabled) advance(false);
  else return false;
  return true;
}

function listen() {
  const { openImport } = listenToImport({ before: () => names.save(), tiles: () => now?.tiles ?? [], onChange: reload, onSay: say });
  listenToTiles({ onChange: reload, onProblem: showProblem, onSay: say, onGeoJson: openImport });
  listenToTeach({ before: () => names.save(), onTaught: fillBundles, onSay: say });
  byId("who").addEventListener("submit", (event) => event.preventDefault());
  byId("wanted").addEventListener("submit", (event) => event.preventDefault());
  byId("person").value = sessionStorage.getItem(PERSON) ?? "";
  byId("person").addEventListener("change", ({ target }) => {
    sessionStorage.setItem(PERSON, target.value.trim());
    reload();
  });
  byId("bundle").addEventListener("change", reload);
  byId("key").addEventListener("change", () => {
    names.sendAgain();
    start();
  });
  byId("send-again").addEventListener("click", () => names.sendAgain());
  for (const id of ["kind", "cluster", "of-type"]) byId(id).addEventListener("change", look);
  byId("pictures").addEventListener("change", ({ target }) => (byId("wall").dataset.pictures = target.value));
  byId("size").addEventListener("change", ({ target }) => byId("wall").style.setProperty("--cell", `${target.value}px`));
  byId("next").addEventListener("click", async () => {
    await advance(true);
    byId("wall-panel").scrollIntoView({ block: "start" });
    byId("wall").focus({ preventScroll: true });
  });
  byId("more").addEventListener("click", () => advance(false));
  byId("take-back").addEventListener("click", () => name(null));
  byId("undo").addEventListener("click", undo);
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, select, dialog");
    if (isTyping || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    undo();
  });
}

/** List the bundles that can be served; returns whether the service holds a review. */
async function fillBundles() {
  const { bundles: found, reviews } = await bundles();
  const chosen = byId("bundle").value;
  byId("bundle").replaceChildren(
    ...found.map(({ name: one, version, default: isDefault }) => html("option", { value: one, selected: chosen ? one === chosen : isDefault }, `${one} ${version}`)),
  );
  return reviews;
}

async function start() {
  await attempt(async () => {
    if (await fillBundles()) return reload();
    byId("off").hidden = false;
    byId("off").textContent = "The review is off: this service was started without MARROWSCOPE_REVIEWS_DIR, the folder in which names of cells are kept.";
    return null;
  });
}

watchKey();
listen();
start();
