// Naming cells: what is shown changes at once, the service is told, and every step can be undone.

import { plural } from "../dom.js";
import { nameCells } from "./service.js";

const MAX_STEPS = 100;
const MAX_NAMES = 5000;

export class Names {
  /** `onChange(cells)` is called when the types of these have changed, `onProgress(progress)` with the service's answer. */
  constructor({ onChange, onProgress, onProblem }) {
    Object.assign(this, { onChange, onProgress, onProblem, steps: [], sent: Promise.resolve() });
  }

  /** Name cells; null takes their names back. Returns what was done, in words. */
  give(cells, type) {
    const changed = cells.filter((cell) => cell.type !== type).slice(0, MAX_NAMES);
    if (!changed.length) return type === null ? "None of these cells has a name." : `All of these cells are named ${type} already.`;
    const words = type === null ? `${plural(changed.length, "name")} taken back` : `${plural(changed.length, "cell")} named ${type}`;
    const step = { words, changes: changed.map((cell) => [cell, cell.type]) };
    this.steps.push(step);
    if (this.steps.length > MAX_STEPS) this.steps.shift();
    this.set(changed.map((cell) => [cell, type]), () => this.steps.splice(this.steps.indexOf(step), 1));
    return `${words}.`;
  }

  /** What would be undone, in words; null if there is nothing. */
  get last() {
    return this.steps.at(-1)?.words ?? null;
  }

  /** Undo the last step. Returns what was done, in words. */
  undo() {
    const step = this.steps.pop();
    if (!step) return "There is nothing to undo.";
    this.set(step.changes, () => this.steps.push(step));
    return `Undone: ${step.words}.`;
  }

  /** Give cells their types here and, after all that was sent before, at the service; if that fails, here it is as before. */
  set(types, onFailure) {
    const before = types.map(([cell]) => [cell, cell.type]);
    const apply = (all) => {
      for (const [cell, type] of all) cell.type = type;
      this.onChange(all.map(([cell]) => cell));
    };
    apply(types);
    this.sent = this.sent.then(async () => {
      try {
        this.onProgress(await nameCells(types.map(([{ id }, type]) => [id, type])));
      } catch (problem) {
        onFailure();
        apply(before);
        this.onProblem(problem);
      }
    });
  }

  /** Types have got other names: `{old: new}`. What had a type that is gone cannot be undone. */
  rename(renamed, types) {
    const known = new Set(types.map(({ name }) => name));
    for (const step of this.steps)
      step.changes = step.changes.map(([cell, type]) => [cell, renamed[type] ?? type]).filter(([, type]) => type === null || known.has(type));
    this.steps = this.steps.filter(({ changes }) => changes.length);
  }

  forget() {
    this.steps = [];
  }
}
