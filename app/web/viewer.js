// The view of the tile: OpenSeadragon zooms and pans it, and the cells are SVG on top of it.

import { byId, svg } from "./dom.js";
import { groupsOf, inWords, keyBy } from "./groups.js";

/* global OpenSeadragon */

const FAR = 0.6;
const STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

export class Viewer {
  /**
   * `onCell(cell or null, { isRight, isChosen })` is called with the cell that is under the pointer or was chosen, and
   * whether it is right of the middle; `onChoose(cell or null)` when another cell is chosen; `onDigit(cell, digit)` when a
   * digit from 1 to 9 is pressed for the chosen cell.
   */
  constructor(onCell, onChoose, onDigit) {
    Object.assign(this, { onCell, onChoose, onDigit, by: "type" });
    byId("zoom-in").addEventListener("click", () => this.zoom(1.5));
    byId("zoom-out").addEventListener("click", () => this.zoom(1 / 1.5));
    byId("zoom-fit").addEventListener("click", () => this.osd?.viewport.goHome());
    byId("outlines").addEventListener("change", (event) => this.layer?.classList.toggle("gone", !event.target.checked));
  }

  /** Build the view for the first tile; until then it is hidden and has no size. */
  build() {
    this.osd = OpenSeadragon({
      element: byId("viewer"),
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: false,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
      tabIndex: -1,
      minZoomImageRatio: 0.8,
      maxZoomPixelRatio: 10,
      visibilityRatio: 0.5,
      imageSmoothingEnabled: true,
      animationTime: 0.4,
    });
    this.osd.addHandler("zoom", ({ zoom }) => this.thin(zoom));
    this.osd.addHandler("canvas-click", (event) => {
      if (!event.quick) return;
      this.choose(cellUnder(event.originalEvent));
      // The keys that work on a chosen cell shall work after a click, too.
      if (this.chosen) this.layer.focus({ preventScroll: true });
    });
  }

  /** Show another tile. */
  async show(answer, canvas) {
    if (!this.osd) this.build();
    const url = URL.createObjectURL(await new Promise((resolve) => canvas.toBlob(resolve)));
    this.osd.clearOverlays();
    this.cells = answer.cells;
    this.answer = answer;
    this.chosen = this.marked = this.among = null;
    this.layer = drawLayer(answer);
    this.colorBy(this.by);
    this.listen();
    await new Promise((resolve, reject) => {
      this.osd.addOnceHandler("open", resolve);
      this.osd.addOnceHandler("open-failed", ({ message }) => reject(new Error(message)));
      this.osd.open({ type: "image", url, buildPyramid: true });
    });
    // The user may have chosen another tile meanwhile.
    if (this.cells !== answer.cells) return;
    const location = new OpenSeadragon.Rect(0, 0, 1, answer.tile.height / answer.tile.width);
    this.osd.addOverlay({ element: this.layer, location });
    this.layer.classList.toggle("gone", !byId("outlines").checked);
    this.thin(this.osd.viewport.getZoom());
    this.osd.addOnceHandler("fully-loaded-change", () => URL.revokeObjectURL(url));
  }

  /** Draw the cells in the colours of their "type" or "cluster", all of them visible; without types, of their clusters. */
  colorBy(by) {
    Object.assign(this, { by, hidden: new Set() });
    this.draw(this.answer);
  }

  /** Draw the same cells again, after their types have changed. What is in sight, hidden, chosen and stands out stays so. */
  draw(answer) {
    Object.assign(this, { answer, keyOf: keyBy(answer, this.by) });
    this.layer.replaceChildren(...groupsOf(answer, this.by).map((group) => drawGroup(answer, group, this.keyOf)));
    for (const group of this.hidden) this.groupOf(group).classList.add("gone");
    this.emphasise(this.among);
    if (this.chosen) this.choose(this.chosen);
  }

  groupOf(key) {
    return this.layer.querySelector(`[data-group="${key}"]`);
  }

  /** Finer lines where nuclei are small on the screen. */
  thin(zoom) {
    this.layer.classList.toggle("far", this.osd.viewport.viewportToImageZoom(zoom) < FAR);
  }

  listen() {
    // Not pointerover: it also comes when the page or the tile moves under a pointer that rests.
    this.layer.addEventListener("pointermove", (event) => {
      const id = event.target.dataset.cell;
      const cell = id === undefined ? this.chosen : this.cells[id];
      if (event.pointerType !== "touch" && cell !== this.marked) this.mark(cell);
    });
    this.layer.addEventListener("pointerleave", () => this.mark(this.chosen));
    this.layer.addEventListener("keydown", (event) => this.onKey(event));
    this.layer.addEventListener("focus", () => this.chosen ?? this.choose(this.shown()[0] ?? null));
  }

  onKey(event) {
    const shown = this.shown();
    if (event.key in STEPS) this.step(STEPS[event.key], shown);
    else if (event.key === "Home") this.choose(shown[0] ?? null, true);
    else if (event.key === "End") this.choose(shown.at(-1) ?? null, true);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.osd.viewport.goHome();
    else if (event.key === "Escape") this.choose(null);
    else if (/^[1-9]$/.test(event.key)) this.onDigit(this.chosen, Number(event.key));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Go to the nearest cell in a direction; those straight ahead count as nearer than those aside. */
  step([dx, dy], shown) {
    if (!this.chosen) return this.choose(shown[0] ?? null, true);
    const [x, y] = this.chosen.centroid;
    let best = null;
    let least = Infinity;
    for (const cell of shown) {
      const ahead = (cell.centroid[0] - x) * dx + (cell.centroid[1] - y) * dy;
      const aside = Math.abs((cell.centroid[0] - x) * dy) + Math.abs((cell.centroid[1] - y) * dx);
      if (ahead > 0 && ahead + 2 * aside < least) [best, least] = [cell, ahead + 2 * aside];
    }
    if (best) this.choose(best, true);
  }

  shown() {
    return this.cells.filter((cell) => !this.hidden.has(this.keyOf(cell)));
  }

  /** Choose a cell, or none. With `follow`, the view moves to it. */
  choose(cell, follow = false) {
    const id = typeof cell === "object" ? cell : this.cells[cell];
    this.layer.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
    this.chosen = id ?? null;
    if (this.chosen) {
      const path = this.pathOf(this.chosen);
      path.setAttribute("aria-selected", "true");
      this.layer.setAttribute("aria-activedescendant", path.id);
      if (follow) this.follow(this.chosen);
    } else this.layer.removeAttribute("aria-activedescendant");
    this.mark(this.chosen);
    this.onChoose(this.chosen);
  }

  follow(cell) {
    const viewport = this.osd.viewport;
    const at = viewport.imageToViewportCoordinates(cell.centroid[0] + 0.5, cell.centroid[1] + 0.5);
    if (!viewport.getBounds().containsPoint(at)) viewport.panTo(at);
  }

  /** Zoom to a cell that was chosen elsewhere on the page. It comes to lie beside the panel with its measurements. */
  goTo(cell) {
    const viewport = this.osd.viewport;
    const zoom = Math.max(viewport.getZoom(), viewport.imageToViewportZoom(3));
    const at = viewport.imageToViewportCoordinates(cell.centroid[0] + 0.5, cell.centroid[1] + 0.5);
    viewport.zoomTo(zoom);
    viewport.panTo(new OpenSeadragon.Point(at.x - 1 / (4 * zoom), at.y));
    this.choose(cell);
  }

  mark(cell) {
    this.marked = cell;
    this.layer.querySelector(".marked")?.classList.remove("marked");
    if (cell) this.pathOf(cell).classList.add("marked");
    this.onCell(cell, { isRight: cell !== null && this.isRight(cell), isChosen: cell !== null && cell === this.chosen });
  }

  /** Whether a cell is in the right half of what is in sight. */
  isRight(cell) {
    const viewport = this.osd.viewport;
    return viewport.imageToViewportCoordinates(cell.centroid[0], cell.centroid[1]).x > viewport.getCenter().x;
  }

  pathOf(cell) {
    return this.layer.querySelector(`#cell-${cell.id}`);
  }

  zoom(factor) {
    this.osd?.viewport.zoomBy(factor);
    this.osd?.viewport.applyConstraints();
  }

  /** Let these cells stand out from the others; null lets none. */
  emphasise(cells) {
    this.among = cells;
    this.layer.classList.toggle("some", cells !== null);
    for (const path of this.layer.querySelectorAll(".among")) path.classList.remove("among");
    for (const cell of cells ?? []) this.pathOf(cell).classList.add("among");
  }

  /** Show or hide the cells of a group, by its key. */
  filter(group, isShown) {
    if (isShown) this.hidden.delete(group);
    else this.hidden.add(group);
    this.groupOf(group).classList.toggle("gone", !isShown);
    if (this.chosen && this.hidden.has(this.keyOf(this.chosen))) this.choose(null);
  }
}

const cellUnder = (event) =>
  document.elementsFromPoint(event.clientX, event.clientY).find((found) => found.dataset.cell)?.dataset.cell ?? null;

function drawLayer({ tile, cells }) {
  return svg("svg", {
    class: "cells",
    viewBox: `0 0 ${tile.width} ${tile.height}`,
    preserveAspectRatio: "none",
    tabindex: "0",
    role: "listbox",
    "aria-label": `${cells.length} cells`,
  });
}

/** Return a group of cells in its colour, of all cells of the answer. */
function drawGroup(answer, { key, name, color }, keyOf) {
  const own = answer.cells.filter((cell) => keyOf(cell) === key);
  return svg(
    "g",
    { "data-group": key, role: "group", "aria-label": name },
    svg("path", { class: "casing", d: own.map(outline).join(""), "aria-hidden": "true" }),
    own.map((cell) => drawCell(cell, color, answer)),
  );
}

function drawCell(cell, color, answer) {
  return svg("path", {
    id: `cell-${cell.id}`,
    class: cell.outlier ? "cell outlier" : "cell",
    d: outline(cell),
    stroke: color,
    "data-cell": cell.id,
    role: "option",
    "aria-selected": "false",
    "aria-label": `Cell ${cell.id}, ${inWords(cell, answer)}`,
  });
}

// Pixel i covers i to i + 1 in the picture, and contours run through the centres of pixels.
const outline = ({ contour }) => `M${contour.map(([x, y]) => `${x + 0.5} ${y + 0.5}`).join("L")}Z`;
