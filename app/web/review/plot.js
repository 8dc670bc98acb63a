// The plot of features: a place for every cell, and a lasso or a ring that takes cells out of it.

import { byId, plural } from "../dom.js";
import { places } from "./service.js";

/** The colours that answers give to clusters, as app/answer/palette.py has them; they repeat from the ninth on. */
export const CLUSTERS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#0072b2", "#cc79a7", "#000000"];
const MARGIN_PX = 8;
const STEP_PX = 12;
const RING_PX = 24;
const [LEAST_RING, LARGEST_RING] = [8, 120];

export class Plot {
  /** `onTake(ids)` is called with the cells in the lasso or ring. */
  constructor({ onTake, onProblem }) {
    Object.assign(this, { onTake, onProblem, cells: [], rows: new Map(), types: [], shown: new Set(), chosen: new Set(), path: null, ring: null });
    this.box = byId("plot");
    this.over = byId("plot-lasso");
    this.box.addEventListener("pointerdown", (event) => this.down(event));
    this.box.addEventListener("pointermove", (event) => this.path && event.isPrimary && this.extend(event));
    this.box.addEventListener("pointerup", (event) => event.isPrimary && this.finish());
    this.box.addEventListener("pointercancel", () => this.cancel());
    this.box.addEventListener("keydown", (event) => this.press(event));
    this.box.addEventListener("focus", () => this.box.matches(":focus-visible") && this.drawOver());
    this.box.addEventListener("blur", () => this.cancel());
    byId("plot-colors").addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Ask for the places of all cells. */
  async load() {
    try {
      const { cells, n_cells: all } = await places();
      this.cells = cells;
      this.rows = new Map(cells.map((cell) => [cell.id, cell]));
      byId("plot-words").textContent =
        cells.length < all ? `${cells.length} of ${plural(all, "cell")}.` : "";
      this.draw();
    } catch (problem) {
      this.onProblem(problem);
    }
  }

  /** Show cells in the colours of their types as they are now. */
  retype(cells, types = this.types) {
    this.types = types;
    for (const { id, type } of cells) if (this.rows.has(id)) this.rows.get(id).type = type;
    this.draw();
  }

  /** Cells have other types because types have other names, or are gone. */
  rename(renamed) {
    for (const cell of this.cells) if (cell.type !== null) cell.type = renamed[cell.type] ?? null;
  }

  /** Ring the cells of the wall, and those of them that are selected. */
  mark(shown, chosen) {
    this.shown = new Set(shown);
    this.chosen = chosen;
    this.draw();
  }

  /** Draw at the next frame, once, however often this is asked for. */
  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.drawPoints();
      this.drawOver();
    });
  }

  /** Return the drawing context of a canvas that is as large as the box, in CSS pixels. */
  context(canvas) {
    const { clientWidth: width, clientHeight: height } = this.box;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    return context;
  }

  drawPoints() {
    const context = this.context(byId("plot-points"));
    const [text, soft] = ["--text", "--soft"].map((name) => resolved(name, this.box));
    const byType = byId("plot-colors").value === "types";
    const colors = new Map(this.types.map(({ name, color }) => [name, color]));
    this.scale();
    const dot = this.cells.length > 1500 ? 2 : 3;
    const order = byType ? [...this.cells].sort((a, b) => (a.type !== null) - (b.type !== null)) : this.cells;
    for (const cell of order) {
      const [x, y] = this.place(cell);
      const color = byType ? colors.get(cell.type) : CLUSTERS[cell.cluster % CLUSTERS.length];
      context.globalAlpha = color ? 1 : 0.55;
      context.fillStyle = color ?? soft;
      context.beginPath();
      context.arc(x, y, byType && color ? dot + 1 : dot, 0, 2 * Math.PI);
      context.fill();
      if (color) circle(context, x, y, byType ? dot + 1 : dot, text, 0.4, 0.5);
      if (this.chosen.has(cell.id)) circle(context, x, y, dot + 4, text, 1, 2.5);
      else if (this.shown.has(cell.id)) circle(context, x, y, dot + 3, text, 0.7, 1);
    }
    context.globalAlpha = 1;
  }

  /** Find what makes all places fit into the box. */
  scale() {
    const [xs, ys] = ["x", "y"].map((axis) => this.cells.map((cell) => cell[axis]));
    const span = (all) => (all.length ? [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))] : [0, 1]);
    const [x, y] = [span(xs), span(ys)];
    const { clientWidth: width, clientHeight: height } = this.box;
    this.place = (cell) => [
      MARGIN_PX + ((cell.x - x[0]) / (x[1] - x[0] || 1)) * (width - 2 * MARGIN_PX),
      height - MARGIN_PX - ((cell.y - y[0]) / (y[1] - y[0] || 1)) * (height - 2 * MARGIN_PX),
    ];
  }

  drawOver() {
    const context = this.context(this.over);
    const accent = resolved("--accent", this.box);
    context.strokeStyle = accent;
    context.lineWidth = 2;
    if (this.path) {
      context.fillStyle = accent;
      context.beginPath();
      for (const [x, y] of this.path) context.lineTo(x, y);
      context.closePath();
      context.globalAlpha = 0.15;
      context.fill();
      context.globalAlpha = 1;
      context.stroke();
    } else if (this.ring) circle(context, this.ring.x, this.ring.y, this.ring.radius, accent, 1, 2);
  }

  at({ clientX, clientY }) {
    const { left, top } = this.box.getBoundingClientRect();
    return [clientX - left - this.box.clientLeft, clientY - top - this.box.clientTop];
  }

  down(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    this.ring = null;
    this.path = [this.at(event)];
    this.box.setPointerCapture(event.pointerId);
  }

  extend(event) {
    this.path.push(this.at(event));
    this.drawOver();
  }

  finish() {
    const { path } = this;
    this.cancel();
    if (!path || path.length < 3) return;
    const area = new Path2D();
    for (const [x, y] of path) area.lineTo(x, y);
    const context = this.over.getContext("2d");
    context.resetTransform();
    this.take((x, y) => context.isPointInPath(area, x, y));
  }

  cancel() {
    this.path = this.ring = null;
    this.drawOver();
  }

  take(isIn) {
    this.onTake(this.cells.filter((cell) => isIn(...this.place(cell))).map(({ id }) => id));
  }

  press(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const factor = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
    const isMove = event.key in moves;
    if (event.ctrlKey || event.metaKey || event.altKey || !(isMove || factor || event.key === "Enter" || event.key === "Escape")) return;
    event.preventDefault();
    if (event.key === "Escape") return this.cancel();
    const { clientWidth: width, clientHeight: height } = this.box;
    const { x, y, radius } = (this.ring ??= { x: width / 2, y: height / 2, radius: RING_PX });
    if (event.key === "Enter") return this.take((px, py) => Math.hypot(px - x, py - y) <= radius);
    const [dx, dy] = moves[event.key] ?? [0, 0];
    this.ring = {
      x: Math.max(0, Math.min(width, x + dx * STEP_PX)),
      y: Math.max(0, Math.min(height, y + dy * STEP_PX)),
      radius: Math.max(LEAST_RING, Math.min(LARGEST_RING, radius * (factor ?? 1))),
    };
    this.drawOver();
  }
}

function circle(context, x, y, radius, color, alpha, width) {
  Object.assign(context, { strokeStyle: color, globalAlpha: alpha, lineWidth: width });
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
}

/** Return a colour of the style sheet as a canvas takes it, which does not know light-dark(). */
function resolved(name, box) {
  const probe = document.createElement("span");
  probe.style.setProperty("color", `var(${name})`);
  box.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
