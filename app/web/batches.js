// The section of batches: it starts them and shows them. The service analyses them in the background.

import { batch, batches, cancelBatch, hasKey, resultAddress, resultFile, startBatch } from "./api.js";
import { byId, headings, html, plural, save } from "./dom.js";

const LOOK_MS = 2000;
const MAX_TILES = 1000;
const STATES = { queued: "waits", running: "runs", finished: "finished", failed: "failed", cancelled: "cancelled" };
const isOver = ({ state }) => !["queued", "running"].includes(state);

let complain = null;
let listed = [];
let older = null;
let timer = null;
/** The drawn rows, by id of their batch. The row of a batch that has not changed is kept, with what is open in it. */
const rows = new Map();

/** Connect the form. `onProblem(problem)` is called with every error. */
export function listenToBatches(onProblem) {
  complain = onProblem;
  byId("batch-form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  byId("batch-tiles").addEventListener("change", ({ target }) => {
    byId("batch-chosen").textContent = target.files.length ? chosen(target.files) : "none chosen";
  });
  byId("batch-older").addEventListener("click", () => attempt(async () => keep(await batches(older), true)));
  document.addEventListener("visibilitychange", () => !document.hidden && listed.length && look());
}

/** Show the section and its batches if the service runs batches. */
export async function showBatches(hasBatches) {
  byId("batches").hidden = byId("to-batches").hidden = !hasBatches;
  if (hasBatches) await look();
}

async function attempt(work) {
  try {
    await work();
  } catch (problem) {
    complain(problem);
  }
}

/** Ask how far the batches are, every two seconds while one is unfinished and the page is visible. */
async function look() {
  clearTimeout(timer);
  await attempt(async () => {
    keep(await batches());
    if (listed.some((one) => !isOver(one)) && !document.hidden) timer = setTimeout(look, LOOK_MS);
  });
}

/** Keep a page of the list: the newest batches, or older ones. */
function keep(page, isOlder = false) {
  byId("batch-path-field").hidden = !page.paths;
  const known = new Set(page.batches.map(({ id }) => id));
  const others = listed.filter(({ id }) => !known.has(id));
  listed = isOlder ? [...others, ...page.batches] : [...page.batches, ...others];
  if (isOlder || others.length === 0) older = page.next;
  draw();
}

async function start() {
  const form = filled();
  if (form === null) return;
  const button = byId("batch-start");
  button.disabled = true;
  say("Sending …");
  await attempt(async () => {
    const { source } = await startBatch(form);
    byId("batch-form").reset();
    byId("batch-chosen").textContent = "none chosen";
    say(`Started: ${source}.`);
  });
  if (byId("batch-news").textContent === "Sending …") say("");
  button.disabled = false;
  await look();
}

/** Return the form as POST /batches takes it; null if something is missing. */
function filled() {
  const tiles = [...byId("batch-tiles").files];
  const path = byId("batch-path").value.trim();
  if (!byId("mpp").reportValidity() || !byId("bundle").reportValidity()) return null;
  if ((tiles.length > 0) === (path !== "") || tiles.length > MAX_TILES) {
    const many = tiles.length > MAX_TILES ? `At most ${MAX_TILES} files can be sent.` : null;
    const what = byId("batch-path-field").hidden ? "Choose slides or tiles first." : "Choose files or give a path, but not both.";
    say(many ?? what);
    return null;
  }
  const form = new FormData();
  const fields = { path, mpp: byId("mpp").value, bundle: byId("bundle").value };
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  for (const file of tiles) form.append("tiles", file, file.name);
  for (const name of ["regions", "patients"]) for (const file of byId(`batch-${name}`).files) form.append(name, file, file.name);
  return form;
}

function say(text) {
  byId("batch-news").textContent = text;
}

function chosen(files) {
  const megabytes = [...files].reduce((sum, { size }) => sum + size, 0) / 1024 ** 2;
  return `${files.length === 1 ? files[0].name : plural(files.length, "file")}, ${megabytes.toFixed(1)} MB`;
}

function draw() {
  byId("batch-scroll").hidden = listed.length === 0;
  byId("batch-older").hidden = older === null;
  // The focused element keeps the focus, and an open part stays open.
  const focused = document.activeElement?.dataset?.batch;
  const open = new Set([...byId("batch-table").querySelectorAll("details[open]")].map(({ dataset }) => dataset.details));
  byId("batch-table").replaceChildren(
    html("thead", {}, html("tr", {}, headings(["Source"], ["Asked for"], ["State"], ["Progress"], ["Results"]))),
    html("tbody", {}, listed.map((one) => known(one, open))),
  );
  if (focused) byId("batch-table").querySelector(`[data-batch="${CSS.escape(focused)}"]`)?.focus();
}

function known(one, open) {
  const told = JSON.stringify([one, hasKey()]);
  if (rows.get(one.id)?.told !== told) rows.set(one.id, { told, element: row(one, open) });
  return rows.get(one.id).element;
}

function row(one, open) {
  return html(
    "tr",
    { "data-state": one.state },
    html("th", { scope: "row" }, one.source, one.by && html("span", { class: "hint" }, ` by ${one.by}`)),
    html("td", {}, new Date(one.created).toLocaleString()),
    html("td", {}, state(one)),
    html("td", {}, progress(one), warnings(one, open), failures(one, open)),
    html("td", {}, files(one, open)),
  );
}

function state(one) {
  if (one.detail) return html("span", { class: "bad" }, `failed: ${one.detail}`);
  if (isOver(one)) return STATES[one.state];
  const cancel = html("button", { type: "button", class: "small", "data-batch": `cancel-${one.id}`, disabled: one.cancelling,
    "aria-label": `Cancel ${one.source}`, onclick: () => attempt(async () => { await cancelBatch(one.id); await look(); }) }, "Cancel");
  return [one.cancelling ? "being cancelled … " : `${STATES[one.state]} `, cancel];
}

function progress({ state: now, source, progress: { slides, slides_done: done, slides_failed: failed, tiles, tiles_done: tilesDone, waiting_since: waiting } }) {
  const counted = slides ? `${done} of ${plural(slides, "slide")}, ${plural(tilesDone, "tile")}` : "";
  const words = waiting && !isOver({ state: now }) ? `${counted}; waits for the Dask scheduler since ${new Date(waiting).toLocaleString()}` : counted;
  if (now !== "running") return words;
  // The number of tiles of a slide is known only when the slide has been planned.
  const [part, whole] = slides === 1 ? [tilesDone, tiles] : [done + failed, slides];
  const share = whole ? { max: whole, value: part } : {};
  return [html("progress", { ...share, "aria-label": `Progress of ${source}` }), html("br"), words];
}

function warnings({ id, warnings: found }, open) {
  if (!found.length) return null;
  return unfolding(`warnings-${id}`, plural(found.length, "warning"), () => html("ul", {}, found.map((text) => html("li", {}, text))), open);
}

function failures({ id, progress: { failures: failed, slides_failed: n } }, open) {
  if (n === 0) return null;
  const list = () => html("ul", {}, failed.map(({ slide, reason }) => html("li", {}, html("strong", {}, slide), `: ${reason}`)));
  return unfolding(`failed-${id}`, `${plural(n, "slide")} failed`, list, open);
}

/** Return links to the report and, when they are unfolded, to all files: a batch of many slides has thousands. */
function files({ id, state: now }, open) {
  if (now === "queued") return "";
  const report = now === "finished" ? html("div", {}, link(id, { name: "index.html", url: `${id}/results/index.html` }, "Report")) : null;
  const list = async () => {
    const { results } = await batch(id);
    return html("ul", {}, results.length ? results.map((file) => html("li", {}, link(id, file))) : html("li", {}, "none yet"));
  };
  return [report, unfolding(`files-${id}`, "Files", list, open)];
}

/** Return a link to a file of a batch. If a key is needed, which a link cannot send, a click saves the file. */
function link(id, { name, url }, text = name) {
  const fetched = () => attempt(async () => save(await resultFile(id, url), name.replaceAll("/", "-")));
  return hasKey()
    ? html("button", { type: "button", class: "link", "data-batch": url, onclick: fetched }, text)
    : html("a", { href: resultAddress(id, url), target: "_blank", rel: "noopener", "data-batch": url }, text);
}

/** Return a part that is filled when it is opened, and again if the table is drawn while it is open. */
function unfolding(name, title, content, open) {
  const box = html("details", { "data-details": name, open: open.has(name) }, html("summary", { "data-batch": name }, title));
  const fill = () => attempt(async () => box.open && box.children.length === 1 && box.append(await content()));
  box.addEventListener("toggle", fill);
  return box;
}
