"""The section on the shipped bundle."""

from __future__ import annotations

from typing import Any

from app.pipeline.descriptions import Descriptions
from app.pipeline.manifest import Manifest
from training.bundle.gates import GATES, MAX_ONNX_DIFFERENCE, gate_values
from training.study.report.reference_ranges import reference_ranges

BUNDLE = """## The shipped bundle `{name}`

Version {version}, measured by `python -m training export` on the averaged weights. Data: {data}.
{iterations} generator iterations, {channels} channels, seed {seed}; it was trained once, so no spread is given.

![Prototypes: one column per cluster, the noise fixed along a row](prototypes.png)

| figure | value | wanted |
|---|---|---|
"""
EXPLAINED = """
Of the variance between the training cells, the clusters explain {area:.0%} in the area of the nucleus, {density:.0%}
in its mean optical density, {eccentricity:.0%} in its eccentricity, and {contrast:.0%} in the contrast of its chromatin
(the mean difference of optical density between neighbouring pixels).
"""
ETA_SQUARED = """
Of every measurement of the nuclei ([what each is](measurements.md)), this share of the variance between the training
cells lies between the clusters (η²):

| measurement | η² |
|---|---|
"""
DESCRIBED = """
What sets each cluster apart from all other training cells. The sentence is made of the measurements named beside it:
those that differ most and do not say the same, with the size of the difference (Cliff's delta, −1 to 1).

| cluster | sentence | what matters most |
|---|---|---|
"""
CALIBRATED = """
Calibration of Q, by `python -m training fit` or `refit`: for each of {folds} folds of {held_out}, a head of Q on the
same encoder was trained without it. On the {cells} cells left out, {agreement:.3f} are put into the cluster that Q
gives them. The largest probability differs from the share of right cells by {error_before:.3f} on average
(expected calibration error); once the logits are divided by a temperature of {temperature:.2f}, by {error_after:.3f}.
"""
CLUSTERS = """
| cluster | share of training cells | fidelity | diversity |
|---|---|---|---|
"""
IMAGE_LEVEL = """
### Image label

{basis}

"""
RELIABILITY = """

The probabilities of the tiles of each fold are calibrated on the other folds. Their Brier score is {brier:.3f}; the
share of abnormal tiles as the probability of every tile would give {brier_by_share:.3f}.

| probability | tiles | mean probability | share abnormal |
|---|---|---|---|
"""
SIMULATED = """ Of the {training_tiles} real healthy tiles,
{training_tiles_called_normal} are called normal. These figures show only that the simulated bags can be
distinguished."""


def bundle(manifest: Manifest) -> str:
    """Return the section on the bundle of a manifest."""
    training, metrics = manifest.training, manifest.metrics
    source = training.data[0]
    train_config: Any = training.config["train"]
    text = BUNDLE.format(
        name=manifest.name,
        version=manifest.version,
        data=f"{source.cells} cells of {source.tiles} tiles of `{source.name}`",
        iterations=training.iterations,
        channels=manifest.architecture.channels,
        seed=train_config["seed"],
    )
    values = gate_values(metrics)
    text += "".join(f"| {gate.title} | {values[name]:.3f} | {gate.wanted} |\n" for name, gate in GATES.items())
    text += f"| largest difference ONNX − PyTorch | {metrics.onnx_max_difference:.1e} | ≤ {MAX_ONNX_DIFFERENCE:.0e} |\n"
    text += CLUSTERS + "".join(
        f"| {k} | {c.share:.3f} | {c.fidelity:.3f} | {'–' if c.diversity is None else f'{c.diversity:.3f}'} |\n"
        for k, c in enumerate(metrics.clusters)
    )
    if metrics.explained:
        text += EXPLAINED.format(**metrics.explained.model_dump())
    if manifest.descriptions:
        text += _described(manifest.descriptions)
    if manifest.q_calibration:
        text += CALIBRATED.format(**manifest.q_calibration.model_dump())
    text += IMAGE_LEVEL.format(basis=manifest.image_level.label_basis) + _image_level(metrics.image_level)
    return text + (reference_ranges(manifest.reference_ranges) if manifest.reference_ranges else "")


def _described(descriptions: Descriptions) -> str:
    """Return the tables of what the clusters explain, and of what sets each of them apart."""
    explained = [known for known in descriptions.measurements if known.eta_squared is not None]
    explained.sort(key=lambda known: -(known.eta_squared or 0))
    text = ETA_SQUARED + "".join(f"| {known.title} | {known.eta_squared:.3f} |\n" for known in explained) + DESCRIBED
    for k, cluster in enumerate(descriptions.clusters):
        foremost = [one for one in cluster.measurements[:3] if one.effect is not None]
        effects = "; ".join(f"{one.title} {one.effect:+.2f}" for one in foremost)
        text += f"| {k} | {cluster.sentence} | {effects or '–'} |\n"
    return text


def _image_level(measured: dict[str, Any]) -> str:
    """Return what was measured of the label, on the user's labelled tiles or on simulated bags left out of its fit."""
    titles = {"precision": "precision", "recall": "recall", "f1": "F1", "auc": "AUC"}
    figures = [f"{title} {measured[name]:.3f}" for name, title in titles.items() if name in measured]
    text = f"On {measured.get('data', 'what was left out')}: {', '.join(figures) or 'nothing was measured'}."
    if "kmeans" in measured:
        text += f" k-means: F1 {measured['kmeans']['f1']:.3f}."
    for name, called in measured.get("called", {}).items():
        text += f" Of the {name} ones {' and '.join(f'{n} are called {label}' for label, n in called.items())}."
    if "training_tiles_called_normal" in measured:
        text += SIMULATED.format(**measured)
    if "reliability" in measured:
        text += _reliability(measured["reliability"])
    return text + "\n"


def _reliability(measured: dict[str, Any]) -> str:
    """Return how well the calibrated probabilities fit the shares of abnormal tiles."""
    text = RELIABILITY.format(**measured)
    for row in measured["table"]:
        place = f"{row['low']:.1f}–{row['high']:.1f}"
        text += f"| {place} | {row['tiles']} | {row['probability']:.3f} | {row['abnormal']:.3f} |\n"
    return text
