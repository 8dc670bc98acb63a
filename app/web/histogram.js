// How a measurement is spread over the cells of each cluster: a row of bars for each cluster, all with one axis.

import { byId, clusterName, headings, html, number, plural, svg, swatch } from "./dom.js";
import { clusterOf } from "./groups.js";
import { grouped, headingOf, measured, quantile, unitText, valueOf, withUnit } from "./measurements.js";
import { ends, flagged, restsOn, uncertainty } from "./range.js";

const WIDTH = 720;
const ROW = { label: 18, bars: 40, gap: 8 };
const AXIS = 40;
const EDGE = 10;
const BARS = 48;
const TICKS = 8;
const OUTLIER = "#999999";

export class Histogram {
  /** `onPick(cells, words)` is called with the cells of a bar that was chosen, or with null when it is chosen no more. */
  constructor(onPick) {
    Object.assign(this, { onPick, wanted: null });
  }

  /** Show the cells of another tile. The measurement that the user has chosen stays. */
  show({ answer }, measurements) {
    Object.assign(this, { answer, measurements: measurements.filter(({ median }) => median !== null), pressed: null });
    byId("histogram").hidden = this.measurements.length === 0;
    if (this.measurements.length === 0) return;
    const choice = html(
      "select",
      { id: "histogram-of", onchange: (event) => this.choose(event.target.value) },
      grouped(this.measurements).map(([group, members]) =>
        html("optgroup", { label: group }, members.map((one) => html("option", { value: one.key, selected: one.key === this.wanted }, one.title))),
      ),
    );
    this.plot = html("div");
    this.facts = html("div", { class: "facts" });
    byId("histogram").replaceChildren(
      html("h3", { id: "histogram-title" }, "A measurement by cluster"),
      this.outside(),
      html("p", {}, html("label", {}, "Measurement ", choice), html("span", { class: "hint" }, " Click a bar to see its cells in the tile and in the table below.")),
      this.plot,
      this.facts,
    );
    this.draw(this.measurements.find(({ key }) => key === this.wanted) ?? this.measurements[0]);
  }

  /** Name the measurements whose median is outside the range of the reference tiles, each with a button that shows it. */
  outside() {
    const found = this.measurements.filter(({ reference }) => reference?.flag === "low" || reference?.flag === "high");
    const show = ({ key, title }) => html("button", { type: "button", class: "link", onclick: () => this.choose(key) }, title);
    if (found.length === 0) return "";
    return html("p", { class: "outside" }, "Medians outside the range of the reference tiles: ", found.map((one) => html("span", {}, show(one), " ", flagged(one.reference), " ")));
  }

  choose(key) {
    this.wanted = key;
    byId("histogram-of").value = key;
    if (this.pressed) this.onPick(null);
    this.pressed = null;
    this.draw(this.measurements.find((one) => one.key === key));
  }

  draw(one) {
    this.one = one;
    const rows = rowsOf(this.answer, one.name);
    this.scale = scaleFor(one, rows);
    this.bars = [];
    const height = rows.length * (ROW.label + ROW.bars + ROW.gap) + AXIS;
    this.plot.replaceChildren(
      svg(
        "svg",
        { class: "plot bars-by-cluster", viewBox: `0 0 ${WIDTH} ${height}`, role: "group", "aria-label": `${headingOf(one)} by cluster; arrow keys go from bar to bar`, onkeydown: (event) => this.onKey(event) },
        rows.map((row, i) => this.row(row, i)),
        this.axis(one, height - AXIS),
      ),
    );
    this.bars[0]?.element.setAttribute("tabindex", "0");
    this.facts.replaceChildren(...factsOf(this.answer, one, rows, this.scale));
  }

  /** Return the cells in each bar. The first and the last one also hold what lies beyond. */
  binned(cells) {
    const { low, step, n } = this.scale;
    const bins = Array.from({ length: n }, () => []);
    for (const cell of cells) bins[Math.min(n - 1, Math.max(0, Math.floor((valueOf(cell, this.one.name) - low) / step + 1e-9)))].push(cell);
    return bins;
  }

  at(value) {
    const { low, step, n } = this.scale;
    return EDGE + ((WIDTH - 2 * EDGE) * Math.min(n, Math.max(0, (value - low) / step))) / n;
  }

  row({ name, color, cells, median }, i) {
    const y = i * (ROW.label + ROW.bars + ROW.gap) + ROW.label;
    const bottom = y + ROW.bars;
    const bins = this.binned(cells);
    const most = Math.max(...bins.map((own) => own.length));
    return svg(
      "g",
      {},
      svg("text", { class: "row-name", x: EDGE, y: y - 5 }, `${name}: ${plural(cells.length, "cell")}, median ${withUnit(this.one, median)}`),
      svg("path", { class: "frame", d: `M${EDGE} ${bottom}H${WIDTH - EDGE}` }),
      bins.map((own, bin) => own.length > 0 && this.bar(own, bin, { row: i, name, color, y, height: (ROW.bars * own.length) / most })),
      svg("path", { class: "median", d: `M${this.at(median)} ${y}V${bottom + 4}` }),
    );
  }

  bar(cells, bin, { row, name, color, y, height }) {
    const { low, step } = this.scale;
    const [x, end] = [bin, bin + 1].map((edge) => this.at(low + edge * step));
    const words = `${name}, ${this.one.title} ${this.between(bin)}`;
    const element = svg(
      "g",
      { class: "bin", role: "button", tabindex: "-1", "aria-pressed": "false", "aria-label": `${words}: ${plural(cells.length, "cell")}`, onclick: () => this.press(element, cells, words) },
      svg("title", {}, `${words}: ${plural(cells.length, "cell")}`),
      svg("rect", { class: "reach", x, y, width: end - x, height: ROW.bars }),
      svg("rect", { x: x + 0.5, y: y + ROW.bars - height, width: Math.max(1, end - x - 1), height, fill: color }),
    );
    this.bars.push({ element, row, bin });
    return element;
  }

  /** Return which values a bar holds, in words. */
  between(bin) {
    const { low, step, n, isWhole, isCutBelow, isCutAbove } = this.scale;
    const [from, to] = [low + bin * step, low + (bin + 1) * step];
    const digits = decimals(step);
    const unit = unitText(this.one.unit);
    const text = (value) => [number(value, digits), unit].filter(Boolean).join(" ");
    if (bin === 0 && isCutBelow) return `below ${text(to)}`;
    if (bin === n - 1 && isCutAbove) return `${text(from)} or more`;
    if (isWhole && step === 1) return text(from);
    return isWhole ? `${number(from, 0)} to ${text(to - 1)}` : `${number(from, digits)} to ${text(to)}`;
  }

  press(element, cells, words) {
    const isOff = element === this.pressed;
    this.pressed?.setAttribute("aria-pressed", "false");
    this.pressed = isOff ? null : element;
    this.pressed?.setAttribute("aria-pressed", "true");
    this.reach(element);
    this.onPick(isOff ? null : cells, words);
  }

  /** Let no bar be chosen, because all cells are shown again. */
  release() {
    this.pressed?.setAttribute("aria-pressed", "false");
    this.pressed = null;
  }

  onKey(event) {
    const here = this.bars.find(({ element }) => element === document.activeElement);
    if (!here) return;
    if (event.key === "Enter" || event.key === " ") here.element.dispatchEvent(new MouseEvent("click"));
    else if (event.key in MOVES) {
      const next = MOVES[event.key](this.bars, here);
      if (next) this.reach(next.element).focus();
    } else return;
    event.preventDefault();
  }

  reach(element) {
    for (const bar of this.bars) bar.element.setAttribute("tabindex", bar.element === element ? "0" : "-1");
    return element;
  }

  axis(one, y) {
    const { low, step, n, isWhole } = this.scale;
    const every = roundStep(Math.max(step, (n * step) / TICKS));
    const first = Math.ceil(low / every - 1e-9);
    const ticks = Array.from({ length: TICKS + 2 }, (_, i) => (first + i) * every);
    const shift = isWhole && step === 1 ? step / 2 : 0;
    return svg(
      "g",
      {},
      ticks.filter((tick) => tick + shift <= low + n * step + 1e-9).map((tick) => svg("text", { x: this.at(tick + shift), y: y + 14, "text-anchor": "middle" }, number(tick, decimals(every)))),
      svg("text", { x: WIDTH / 2, y: y + 34, "text-anchor": "middle" }, headingOf(one)),
    );
  }
}

const nearest = (bars, bin) => bars.reduce((best, bar) => (Math.abs(bar.bin - bin) < Math.abs((best ?? bar).bin - bin) ? bar : (best ?? bar)), null);
const MOVES = {
  ArrowRight: (bars, { row, bin }) => bars.find((bar) => bar.row === row && bar.bin > bin),
  ArrowLeft: (bars, { row, bin }) => bars.findLast((bar) => bar.row === row && bar.bin < bin),
  ArrowDown: (bars, { row, bin }) => nearest(bars.filter((bar) => bar.row === row + 1), bin),
  ArrowUp: (bars, { row, bin }) => nearest(bars.filter((bar) => bar.row === row - 1), bin),
};

/** Return the clusters, and the outliers, that have a cell in which it was measured. */
function rowsOf({ clusters, cells }, name) {
  const groups = [
    ...clusters.map((cluster) => ({ group: String(cluster.cluster), name: clusterName(cluster), color: cluster.color })),
    { group: "outlier", name: "Outliers", color: OUTLIER },
  ];
  return groups
    .map((row) => {
      const own = cells.filter((cell) => clusterOf(cell) === row.group && valueOf(cell, name) !== null);
      const sorted = measured(own, name);
      return { ...row, cells: own, median: quantile(sorted, 0.5), quartiles: [quantile(sorted, 0.25), quantile(sorted, 0.75)], sorted };
    })
    .filter(({ cells: own }) => own.length > 0);
}

/** Return an axis of about 28 bars with round limits. A few very large values do not press the others together. */
function scaleFor({ quartiles: [q1, q3], digits }, rows) {
  const all = Float64Array.from(rows.flatMap(({ sorted }) => [...sorted])).sort();
  const reach = 3 * (q3 - q1) || all.at(-1) - all[0] || 1;
  const [from, to] = [Math.max(all[0], q1 - reach), Math.min(all.at(-1), q3 + reach)];
  const isWhole = digits === 0 && all.every(Number.isInteger);
  const step = Math.max(isWhole ? 1 : 0, roundStep((to - from) / BARS || 1));
  const low = Math.floor(from / step + 1e-9) * step;
  const n = Math.floor((to - low) / step + 1e-9) + 1;
  return { low, step, n, isWhole, isCutBelow: all[0] < low, isCutAbove: all.at(-1) >= low + n * step };
}

/** Return 1, 2 or 5 times a power of ten: the first that is not smaller. */
function roundStep(least) {
  const ten = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((times) => times * ten).find((step) => step >= least * (1 - 1e-9));
}

const decimals = (step) => Math.max(0, -Math.floor(Math.log10(step) + 1e-9));

function factsOf({ measurements }, one, rows, { isCutBelow, isCutAbove }) {
  const of = measurements?.find(({ measurement }) => measurement === one.name);
  const text = (value) => number(value, one.digits);
  return [
    html(
      "table",
      {},
      html("caption", {}, headingOf(one)),
      html("thead", {}, html("tr", {}, headings(["Cells of"], ["n", "value"], ["Median", "value"], ["Quartiles", "value"]))),
      html("tbody", {}, rows.map((row) => factRow(row, text))),
      of && of.median !== null
        ? html("tfoot", {}, html("tr", {}, html("th", { scope: "row" }, "All counted cells"), [String(of.n), text(of.median), of.quartiles.map(text).join("–")].map(valueCell)))
        : null,
    ),
    one.reference ? html("p", {}, ...ofMedian(one, text)) : null,
    html("p", { class: "hint" }, `Each row is scaled to its own highest bar. The dashed line is the median. ${beyond(isCutBelow, isCutAbove)}`),
  ].filter(Boolean);
}

function ofMedian({ reference, unit }, text) {
  const suffix = unitText(unit) && ` ${unitText(unit)}`;
  return [
    `Reference range of a tile's median: ${ends(reference, text, suffix)} (${restsOn(reference)}). ${uncertainty(reference, text, suffix)}`,
    reference.flag ? html("span", {}, " This tile: ", flagged(reference) ?? reference.flag, ".") : "",
  ];
}

function beyond(isCutBelow, isCutAbove) {
  if (isCutBelow && isCutAbove) return "The first and the last bar also hold what lies beyond them.";
  if (isCutBelow || isCutAbove) return `The ${isCutBelow ? "first" : "last"} bar also holds what lies beyond it.`;
  return "";
}

const valueCell = (text) => html("td", { class: "value" }, text);
const factRow = ({ name, color, cells, median, quartiles, group }, text) =>
  html(
    "tr",
    {},
    html("th", { scope: "row" }, group === "outlier" ? swatch("", "outlier") : swatch(color), name),
    [String(cells.length), text(median), quartiles.map(text).join("–")].map(valueCell),
  );
