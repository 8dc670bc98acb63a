// The wall of cells: each is shown close and in its surroundings, and is selected by mouse, finger or keyboard.

import { byId, html, percent, plural, swatch } from "../dom.js";
import { crop } from "../picture.js";

const SOURCE_PX = 32;
const SHOWN_PX = 192;
/** A pointer that has moved less has clicked. */
const DRAG_PX = 6;
/** Within this distance of the window's edge, dragging scrolls. */
const EDGE_PX = 48;
const SCROLL_PX = 24;

export class Wall {
  /** `onSelect()` is called after a change of the selection or focus, and `onKey(key)` with keys that are not the wall's. */
  constructor({ onSelect, onKey }) {
    Object.assign(this, { onSelect, onKey, cells: [], chosen: new Set(), at: 0, anchor: 0, types: [], unsaved: new Map(), band: null });
    this.element = byId("wall");
    this.stage = byId("stage");
    this.element.addEventListener("keydown", (event) => this.press(event));
    this.element.addEventListener("focus", () => this.mark());
    this.stage.addEventListener("pointerdown", (event) => this.down(event));
    this.stage.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) this.stage.addEventListener(kind, (event) => this.up(event));
    this.element.addEventListener("dragstart", (event) => event.preventDefault());
    byId("select-all").addEventListener("click", () => this.selectAll());
    byId("select-none").addEventListener("click", () => this.selectNone());
    byId("invert").addEventListener("click", () => this.invert());
    byId("drag-mode").addEventListener("click", ({ currentTarget: button }) => {
      const isOn = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(isOn));
      this.stage.classList.toggle("dragging", isOn);
    });
  }

  /** The cells that are selected, in their order. */
  get selected() {
    return this.cells.filter(({ id }) => this.chosen.has(id));
  }

  /** The cell in focus; null if there is none. */
  get focused() {
    return this.cells[this.at] ?? null;
  }

  /** Show these cells and no others. */
  async show(cells) {
    const drawn = await Promise.all(cells.map(pictures));
    this.cells = [];
    this.at = this.anchor = 0;
    this.element.replaceChildren();
    this.add(cells, drawn);
    this.select([]);
  }

  /** Show further cells after those that are there. */
  async append(cells) {
    this.add(cells, await Promise.all(cells.map(pictures)));
  }

  add(cells, drawn) {
    const begin = this.cells.length;
    this.cells.push(...cells);
    this.element.append(...cells.map((cell, i) => this.option(cell, drawn[i], begin + i)));
    this.cells.forEach((_, i) => this.element.children[i].setAttribute("aria-setsize", this.cells.length));
    this.mark();
  }

  option(cell, drawn, i) {
    const option = html(
      "div",
      { role: "option", id: `cell-${cell.id}`, class: "one", "aria-selected": "false", "aria-posinset": i + 1 },
      html("span", { class: "views" }, drawn),
      html("span", { class: "name" }),
    );
    this.label(option, cell);
    return option;
  }

  /** Show the types of cells as they are now, or of those that `has` says. */
  relabel(types = this.types, has = () => true) {
    this.types = types;
    this.cells.forEach((cell, i) => has(cell.id) && this.label(this.element.children[i], cell));
  }

  /** Mark the cells whose names are not saved yet; `isStuck` says so in words, because it takes long. */
  markUnsaved(unsaved, isStuck) {
    const before = this.unsaved;
    this.unsaved = unsaved;
    this.element.classList.toggle("stuck", isStuck);
    this.relabel(this.types, (id) => unsaved.has(id) !== before.has(id));
  }

  label(option, cell) {
    const { type, cluster, suggested, names } = cell;
    const color = this.types.find(({ name }) => name === type)?.color;
    const [likely] = suggested;
    const guess = type === null && likely ? `${likely.type}? ${percent(likely.probability)}` : null;
    const all = names.map(({ reviewer, type: given }) => `${reviewer}: ${given}`);
    const isUnsaved = this.unsaved.has(cell.id);
    option.classList.toggle("named", type !== null);
    option.classList.toggle("unsaved", isUnsaved);
    option.style.setProperty("--type", color ?? "transparent");
    option.querySelector(".name").replaceChildren(
      ...[type ? [swatch(color), type] : guess ? html("i", {}, guess) : html("span", { class: "visually-hidden" }, "no name")].flat(),
      ...all.map((text) => html("small", {}, text)),
    );
    const words = [type ?? "no name", `cluster ${cluster}`, guess && `perhaps ${guess.replace("?", ",")}`, isUnsaved && "not saved yet", ...all];
    option.setAttribute("aria-label", words.filter(Boolean).join(", "));
    option.title = `Cluster ${cluster}, ${percent(cell.probability)}`;
  }

  /** Select these cells and no others. */
  select(ids) {
    this.chosen = new Set(ids);
    this.cells.forEach(({ id }, i) => this.element.children[i].setAttribute("aria-selected", String(this.chosen.has(id))));
    this.mark();
    this.onSelect();
  }

  selectAll() {
    this.select(this.cells.map(({ id }) => id));
  }

  selectNone() {
    this.select([]);
  }

  invert() {
    this.select(this.cells.map(({ id }) => id).filter((id) => !this.chosen.has(id)));
  }

  toggle(i) {
    const ids = new Set(this.chosen);
    const { id } = this.cells[i];
    if (!ids.delete(id)) ids.add(id);
    this.anchor = i;
    this.select(ids);
  }

  /** Select all from the anchor to cell i, besides what is selected already if `more`. */
  range(i, more = false) {
    const [low, high] = [Math.min(i, this.anchor), Math.max(i, this.anchor)];
    const ids = this.cells.slice(low, high + 1).map(({ id }) => id);
    this.select(more ? [...this.chosen, ...ids] : ids);
  }

  /** Put the focus on cell i, as far as there are cells. */
  goTo(i) {
    if (!this.cells.length) return;
    this.at = Math.max(0, Math.min(this.cells.length - 1, i));
    this.mark();
    this.element.children[this.at].scrollIntoView({ block: "nearest", behavior: "instant" });
    this.onSelect();
  }

  mark() {
    for (const old of this.element.querySelectorAll(".at")) old.classList.remove("at");
    const option = this.element.children[this.at];
    if (!option) return this.element.removeAttribute("aria-activedescendant");
    option.classList.add("at");
    this.element.setAttribute("aria-activedescendant", option.id);
  }

  get columns() {
    const tops = [...this.element.children].map(({ offsetTop }) => offsetTop);
    const second = tops.findIndex((top) => top !== tops[0]);
    return second < 0 ? Math.max(1, tops.length) : second;
  }

  press(event) {
    const { key, shiftKey: shift } = event;
    const command = event.ctrlKey || event.metaKey;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, Home: -this.at, End: this.cells.length };
    const actions = { " ": () => this.space(shift), a: () => this.selectAll(), Escape: () => this.selectNone(), i: () => this.invert() };
    const lower = key.length === 1 ? key.toLowerCase() : key;
    if (key in steps && !event.altKey) this.step(steps[key], shift);
    else if (lower in actions && !event.altKey && (!command || lower === "a")) actions[lower]();
    else if (command || event.altKey || !this.onKey(lower)) return;
    event.preventDefault();
  }

  step(by, shift) {
    const to = this.at + by;
    // There is no cell above the first row, nor below the last one.
    if (Math.abs(by) > 1 && (to < 0 || (to >= this.cells.length && by === this.columns))) return;
    this.goTo(to);
    if (shift) this.range(this.at);
    else this.anchor = this.at;
  }

  space(shift) {
    if (!this.focused) return;
    if (shift) this.range(this.at, true);
    else this.toggle(this.at);
  }

  indexOf(element) {
    const option = element.closest?.("[role=option]");
    return option ? [...this.element.children].indexOf(option) : -1;
  }

  down(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    const isTouch = event.pointerType === "touch";
    this.element.focus({ preventScroll: true });
    if (!isTouch) event.preventDefault();
    const more = isTouch || event.ctrlKey || event.metaKey || event.shiftKey;
    this.band = { id: event.pointerId, isTouch, isDragged: false, begin: this.place(event), before: more ? [...this.chosen] : [], target: event.target };
  }

  /** Return where the pointer is within the stage, which scrolling does not change. */
  place({ clientX, clientY }) {
    const { left, top } = this.stage.getBoundingClientRect();
    return [clientX - left, clientY - top];
  }

  move(event) {
    const { band } = this;
    if (band?.id !== event.pointerId) return;
    const [x, y] = this.place(event);
    band.isDragged ||= Math.hypot(x - band.begin[0], y - band.begin[1]) > DRAG_PX;
    if (!band.isDragged || (band.isTouch && !this.stage.classList.contains("dragging"))) return;
    this.stage.setPointerCapture(event.pointerId);
    if (event.clientY > innerHeight - EDGE_PX) scrollBy({ top: SCROLL_PX, behavior: "instant" });
    else if (event.clientY < 2 * EDGE_PX) scrollBy({ top: -SCROLL_PX, behavior: "instant" });
    this.draw(...band.begin, x, y);
  }

  /** Draw the rectangle between two places, and select the cells that it touches. */
  draw(x0, y0, x1, y1) {
    const [left, right, top, bottom] = [Math.min(x0, x1), Math.max(x0, x1), Math.min(y0, y1), Math.max(y0, y1)];
    const frame = byId("band");
    frame.hidden = false;
    for (const [side, length] of Object.entries({ left, top, width: right - left, height: bottom - top })) frame.style.setProperty(side, `${length}px`);
    const touched = this.cells.filter((_, i) => {
      const { offsetLeft: x, offsetTop: y, offsetWidth: width, offsetHeight: height } = this.element.children[i];
      return x < right && x + width > left && y < bottom && y + height > top;
    });
    this.select([...this.band.before, ...touched.map(({ id }) => id)]);
  }

  up(event) {
    const { band } = this;
    if (band?.id !== event.pointerId) return;
    this.band = null;
    byId("band").hidden = true;
    if (band.isDragged || event.type === "pointercancel") return;
    const i = this.indexOf(band.target);
    if (i >= 0) this.click(i, event, band.isTouch);
    else if (!band.isTouch && !band.before.length) this.selectNone();
  }

  click(i, { shiftKey, ctrlKey, metaKey }, isTouch) {
    this.at = i;
    if (shiftKey) return this.range(i, ctrlKey || metaKey);
    if (isTouch || ctrlKey || metaKey) return this.toggle(i);
    this.anchor = i;
    this.select([this.cells[i].id]);
  }

  /** What is selected, in words. */
  get words() {
    return this.chosen.size ? `${plural(this.chosen.size, "cell")} selected` : "";
  }
}

/** Return both pictures of a cell, enlarged smoothly. */
async function pictures({ nucleus, field }) {
  return Promise.all(
    [["nucleus", nucleus], ["field", field]].map(async ([kind, png]) => {
      const bitmap = await createImageBitmap(decoded(png));
      const middle = (SOURCE_PX - 1) / 2;
      const canvas = crop(bitmap, { centroid: [middle, middle] }, SOURCE_PX, SHOWN_PX);
      canvas.className = kind;
      return canvas;
    }),
  );
}

/** Return the PNG of a base64 text. The page's Content-Security-Policy refuses data: as the address of a picture. */
function decoded(text) {
  return new Blob([Uint8Array.from(atob(text), (character) => character.charCodeAt(0))], { type: "image/png" });
}
