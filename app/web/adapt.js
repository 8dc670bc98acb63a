// The dialog in which a bundle is adapted to the tiles of a laboratory, and the line that leads to it.

import { adaptBundle, bundleReport, hasKey, reportAddress } from "./api.js";
import { byId, html, plural, save } from "./dom.js";

/** Flags that come from another stain or scanner. Adapting takes them away where the tiles are marrow. */
const OF_A_LABORATORY = new Set(["stain_out_of_range", "unlike_training_tiles", "many_outliers"]);
/** As app/api/adaptations.py and app/adapt/fit.py have them. */
const [FEWEST, MOST, WANTED] = [3, 50, 10];

export class Adaptation {
  /** `onAdapted(name)` is called when there is a new bundle, which the page then chooses. */
  constructor({ onAdapted }) {
    Object.assign(this, { onAdapted, isOffered: false, isRunning: false, source: null });
    byId("adapt-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    byId("adapt-close").addEventListener("click", () => byId("adapt").close());
    byId("adapt-tiles").addEventListener("change", () => this.check());
  }

  /** Offer to adapt below the quality of a tile that looks different from the training tiles. */
  offer({ quality }, { manifest }) {
    const differs = quality.flags.some(({ code }) => OF_A_LABORATORY.has(code));
    if (!this.isOffered || !differs || !manifest.appearance) return;
    byId("quality").append(
      html(
        "p",
        { class: "hint" },
        "These tiles look different from the training tiles: ",
        html("button", { type: "button", class: "link", id: "adapt-open", onclick: () => this.open(manifest) }, "adapt the bundle to your laboratory"),
        ".",
      ),
    );
  }

  open({ name, adaptation }) {
    // What was adapted already is adapted anew from the bundle that it came from.
    this.source = adaptation?.source ?? name;
    byId("adapt-source").textContent = this.source;
    if (!this.isRunning) {
      byId("adapt-mpp").value = byId("mpp").value;
      byId("adapt-result").replaceChildren();
    }
    byId("adapt").showModal();
  }

  check() {
    const { files } = byId("adapt-tiles");
    const isWrong = files.length < FEWEST || files.length > MOST;
    byId("adapt-tiles").setCustomValidity(isWrong ? `Choose ${FEWEST} to ${MOST} tiles.` : "");
    const few = !isWrong && files.length < WANTED ? ` Few: ${WANTED} or more are wanted.` : "";
    byId("adapt-chosen").textContent = files.length ? `${plural(files.length, "tile")} chosen.${few}` : "";
  }

  async start() {
    const form = new FormData();
    for (const file of byId("adapt-tiles").files) form.append("tiles", file, file.name);
    form.append("name", byId("adapt-name").value);
    form.append("source", this.source);
    if (byId("adapt-mpp").value) form.append("mpp", byId("adapt-mpp").value);
    this.run(true);
    try {
      const answer = await adaptBundle(form);
      await this.onAdapted(answer.name);
      byId("adapt-result").replaceChildren(...outcome(answer));
    } catch (problem) {
      byId("adapt-result").replaceChildren(html("p", { class: "problem" }, html("strong", {}, "Nothing was adapted"), " – ", problem.message));
    }
    this.run(false);
    byId("adapt-result").focus();
  }

  run(isRunning) {
    this.isRunning = byId("adapt-start").disabled = isRunning;
    byId("adapt-progress").hidden = !isRunning;
    byId("adapt-news").textContent = isRunning ? "Adapting: about three seconds for each tile …" : "";
    if (isRunning) byId("adapt-result").replaceChildren();
  }
}

const sum = (flags) => Object.values(flags).reduce((all, n) => all + n, 0);

const outcome = ({ name, version, source, tiles, warnings, flags_before: before, flags_after: after }) => [
  html("p", {}, html("strong", {}, `${name} ${version}`), ` was adapted to ${plural(tiles, "tile")}, and is chosen now. They had ${plural(sum(before), "flag")} with ${source}, and have ${sum(after)} with ${name}.`),
  warnings.length ? html("ul", {}, warnings.map((sentence) => html("li", {}, sentence))) : "",
  html("p", {}, report(name)),
];

/** Return what leads to the report: a link cannot carry a key, so the report is saved where one is needed. */
const report = (name) =>
  hasKey()
    ? html("button", { type: "button", onclick: async () => save(await bundleReport(name), `${name}.html`) }, "Save the report")
    : html("a", { href: reportAddress(name), target: "_blank", rel: "noopener" }, "Open the report");
