// Naming cells: what is shown changes at once, the service is told in the same order, and every step can be undone.

import { Problem } from "../api.js";
import { plural } from "../dom.js";
import { nameCells, sender } from "./service.js";

const MAX_STEPS = 100;
const MAX_NAMES = 5000;
/** How long it takes until names are sent again that could not be sent: so long at first, twice as long each time, and this at most. */
const [FIRST_WAIT_MS, LONGEST_WAIT_MS] = [2000, 30_000];
/** With these statuses the service refuses the names themselves, and would refuse them again. */
const REFUSALS = [400, 409, 413, 422];
/** With these, somebody has to do something before the service takes names. */
const NEEDS_A_PERSON = [401, 403];

/**
 * One request is under way at a time, and what is named meanwhile waits for the next one, which takes all of it. A batch has the names of
 * one reviewer for cells of one bundle, by the ids of the cells. Names that could not be sent stay in it, and are sent again.
 */
export class Names {
  /**
   * `onChange(types)` is called when cells have other types, by their ids; `onProgress(progress)` with the service's answer;
   * `onProblem(problem, what)` when names are refused; and `onWaiting()` when more or fewer names wait.
   */
  constructor({ onChange, onProgress, onProblem, onWaiting }) {
    Object.assign(this, { onChange, onProgress, onProblem, onWaiting, steps: [], batches: [], running: null, problem: null });
    Object.assign(this, { n: 0, failures: 0, timer: null, isSending: false, refusals: new Map(), sent: Promise.resolve() });
    addEventListener("online", () => this.sendAgain());
    addEventListener("beforeunload", (event) => {
      if (!this.nUnsaved) return;
      event.preventDefault();
      event.returnValue = true;
    });
  }

  /** Name cells; null takes their names back. Returns what was done, in words. */
  give(cells, type) {
    const changed = cells.filter((cell) => cell.type !== type).slice(0, MAX_NAMES);
    if (!changed.length) return type === null ? "None of these cells has a name." : `All of these cells are named ${type} already.`;
    const changes = changed.map(({ id, tile, type: from }) => ({ id, tile, from, to: type, n: this.n + 1 }));
    this.steps.push({ changes });
    if (this.steps.length > MAX_STEPS) this.steps.shift();
    this.put(changes);
    return `${wordsOf(changes)}.`;
  }

  /** What would be undone, in words; null if there is nothing. */
  get last() {
    return this.steps.length ? wordsOf(this.steps.at(-1).changes) : null;
  }

  /** Undo the last step. Returns what was done, in words. */
  undo() {
    const step = this.steps.pop();
    if (!step) return "There is nothing to undo.";
    this.put(step.changes.map(({ id, tile, from, to }) => ({ id, tile, from: to, to: from })));
    return `Undone: ${wordsOf(step.changes)}.`;
  }

  /** The types of the cells whose names wait, by their ids: of the reviewer and the bundle that the page shows. */
  get unsaved() {
    return new Map(this.batches.filter(isShown).flatMap(({ names }) => [...names.values()].map(({ id, type }) => [id, type])));
  }

  /** How many names wait, whosever they are. */
  get nUnsaved() {
    return new Set(this.batches.flatMap(({ bundle, reviewer, names }) => [...names.keys()].map((id) => `${bundle} ${reviewer} ${id}`))).size;
  }

  /** Let changes wait for the next request, and send it. */
  put(changes) {
    this.n += 1;
    const who = sender();
    let batch = this.batches.at(-1);
    if (!batch || batch === this.running || !isOf(batch, who) || batch.names.size + changes.length > MAX_NAMES) {
      batch = { ...who, names: new Map() };
      this.batches.push(batch);
    }
    for (const { id, tile, from, to } of changes) {
      const before = this.batches.filter((one) => isOf(one, who) && one.names.has(id)).at(-1)?.names.get(id);
      // What the service holds, as far as is known: the type, and the number of the naming that gave it.
      const held = before ? before.held : { type: from, n: this.n - 1 };
      batch.names.set(id, { id, tile, type: to, n: this.n, held });
    }
    this.onChange(new Map(changes.map(({ id, to }) => [id, to])));
    if (this.problem === null) this.send();
    this.onWaiting();
  }

  send() {
    if (!this.isSending) this.sent = this.sendAll();
  }

  /** Send names that could not be sent. */
  sendAgain() {
    if (this.batches.length) this.send();
  }

  /** Wait until all names are saved; raises a problem if they cannot be. */
  async save() {
    this.sendAgain();
    await this.sent;
    if (this.nUnsaved) throw new Problem(0, "Names not saved", `${plural(this.nUnsaved, "name")} could not be saved yet: ${this.problem?.message ?? "try again."}`, null);
  }

  async sendAll() {
    this.isSending = true;
    clearTimeout(this.timer);
    this.refusals = new Map();
    try {
      while (this.batches.length && (await this.sendOne(this.batches[0])));
    } finally {
      this.isSending = false;
      this.onWaiting();
      for (const { problem, n } of this.refusals.values()) this.onProblem(problem, `${plural(n, "name")} not kept`);
    }
  }

  /** Send a batch. Returns whether the next one may be sent. */
  async sendOne(batch) {
    this.running = batch;
    const [progress, problem] = await nameCells(batch).then((answer) => [answer, null], (error) => [null, error]);
    this.running = null;
    if (problem && !REFUSALS.includes(problem.status)) {
      this.wait(problem);
      return false;
    }
    this.batches.shift();
    [this.problem, this.failures] = [null, 0];
    if (problem) this.refused(batch, problem);
    else {
      for (const { id, type, n } of batch.names.values()) this.nowHeld(batch, id, { type, n });
      if (isShown(batch)) this.onProgress(progress);
    }
    this.onWaiting();
    return true;
  }

  /** Keep what could not be sent, and send it again later. */
  wait(problem) {
    this.problem = problem;
    const pause = Math.min(FIRST_WAIT_MS * 2 ** this.failures, LONGEST_WAIT_MS);
    this.failures += 1;
    if (!NEEDS_A_PERSON.includes(problem.status)) this.timer = setTimeout(() => this.sendAgain(), pause);
  }

  /** Tell names that still wait what the service holds of their cell now. */
  nowHeld({ bundle, reviewer }, id, held) {
    for (const later of this.batches) if (isOf(later, { bundle, reviewer }) && later.names.has(id)) later.names.get(id).held = held;
  }

  /** Find the names for which a batch was refused: all names of a request are kept, or none. The others are sent without them. */
  refused(batch, problem) {
    // Names are refused for their types, or for the tiles of their cells.
    const parts = [...Map.groupBy(batch.names.values(), ({ tile, type }) => `${tile} ${type}`).values()];
    if (parts.length > 1) {
      const middle = Math.ceil(parts.length / 2);
      const of = (some) => ({ ...batch, names: new Map(some.flat().map((one) => [one.id, one])) });
      this.batches.unshift(of(parts.slice(0, middle)), of(parts.slice(middle)));
      return;
    }
    const later = new Set(this.batches.filter((one) => isOf(one, batch)).flatMap(({ names }) => [...names.keys()]));
    for (const one of batch.names.values()) {
      this.nowHeld(batch, one.id, one.held);
      this.dropSteps(one);
    }
    const back = [...batch.names.values()].filter(({ id }) => !later.has(id));
    if (isShown(batch)) this.onChange(new Map(back.map(({ id, held }) => [id, held.type])));
    const n = (this.refusals.get(problem.message)?.n ?? 0) + batch.names.size;
    this.refusals.set(problem.message, { problem, n });
  }

  /** A name was refused: it cannot be undone, nor what it replaced before it was sent. */
  dropSteps({ id, n: refused, held }) {
    for (const step of this.steps) step.changes = step.changes.filter((one) => one.id !== id || one.n <= held.n || one.n > refused);
    this.steps = this.steps.filter(({ changes }) => changes.length);
    const next = this.steps.flatMap(({ changes }) => changes).find((one) => one.id === id && one.n > refused);
    if (next) next.from = held.type;
  }

  /** Types have got other names: `{old: new}`. What had a type that is gone cannot be undone, and is not sent. */
  rename(renamed) {
    const isGone = (type) => type !== null && !(type in renamed);
    const now = (type) => (type === null || isGone(type) ? null : renamed[type]);
    for (const step of this.steps)
      step.changes = step.changes.filter(({ from }) => !isGone(from)).map((one) => ({ ...one, from: now(one.from), to: now(one.to) }));
    this.steps = this.steps.filter(({ changes }) => changes.length);
    for (const { names } of this.batches)
      for (const one of names.values()) {
        one.held = { ...one.held, type: now(one.held.type) };
        if (isGone(one.type)) names.delete(one.id);
        else one.type = now(one.type);
      }
    this.batches = this.batches.filter((batch) => batch === this.running || batch.names.size);
  }

  /** Other cells, or those of another reviewer, are shown: the steps belong to what was shown before. */
  forget() {
    this.steps = [];
  }
}

const isOf = (batch, { bundle, reviewer }) => batch.bundle === bundle && batch.reviewer === reviewer;
const isShown = (batch) => isOf(batch, sender());
const wordsOf = (changes) => (changes[0].to === null ? `${plural(changes.length, "name")} taken back` : `${plural(changes.length, "cell")} named ${changes[0].to}`);
