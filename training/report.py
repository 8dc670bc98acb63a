"""docs/results.md from what `evaluate` measured and what the bundle's manifest says; nothing is typed by hand."""

from __future__ import annotations

from typing import Any

from app.pipeline.bundle import Bundle
from app.pipeline.manifest import Manifest
from app.pipeline.prototypes import prototype_grid, tile_grid
from app.pipeline.types import UInt8Array
from training.shippable import GATES, gate_values

FIGURE_ROWS = 8
FIGURE_SCALE = 3

DETECTION = """## Detection of nuclei

Data: `bm_graz`, all dots, one-to-one within 10 px; Kainz's split (test: 0007_01, 0008_01, 0020_01; tune: the rest).
Command: `python -m training evaluate ../shared/data/bm_graz docs/results`

What the paper leaves open in its recipe was chosen on the tune split (`docs/decisions/0001-paper-preset.md`).

| segmentation | split | precision | recall | F1 | found | dots |
|---|---|---|---|---|---|---|
"""
BUNDLE = """## The shipped bundle `{name}` {version}

Measured by `python -m training export` on the averaged weights; data: {data}. {iterations} generator iterations,
{channels} channels, seed {seed}: one run, so no spread is given.

![Prototypes: one column per cluster, the noise fixed along a row](prototypes.png)

| figure | value | wanted |
|---|---|---|
"""
CLUSTERS = """
| cluster | share of training cells | fidelity | diversity |
|---|---|---|---|
"""
IMAGE_LEVEL = """
### Image label

{basis}

On {data}: precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f}. Of the {training_tiles} real healthy tiles,
{training_tiles_called_normal} are called normal. These figures say that the simulation can be told apart, no more.
"""


def render(detection: dict[str, Any], manifest: Manifest) -> str:
    """The document.

    Args:
        detection: result of `evaluate_detection`.
        manifest: of the shipped bundle.
    """
    rows = [
        f"| {name} | {split} | {s['precision']:.3f} | {s['recall']:.3f} | {s['f1']:.3f} | {s['found']} | {s['truth']} |"
        for name, splits in detection.items()
        for split, s in splits.items()
    ]
    head = "# Results\n\nWritten by `python -m training report`; every figure names the command that measured it.\n\n"
    return head + DETECTION + "\n".join(rows) + "\n\n" + _bundle(manifest)


def prototype_figure(bundle: Bundle) -> UInt8Array:
    """The paper's grid (Fig. 5), enlarged to be looked at: z fixed along a row, one column per cluster.

    Returns:
        (FIGURE_ROWS · 32 · FIGURE_SCALE, K · 32 · FIGURE_SCALE, 3) uint8.
    """
    manifest = bundle.manifest
    grid = prototype_grid(
        bundle.backend, FIGURE_ROWS, seed=0, n_clusters=manifest.n_clusters, latent_size=manifest.latent_size
    )
    return tile_grid(grid).repeat(FIGURE_SCALE, axis=0).repeat(FIGURE_SCALE, axis=1)


def _bundle(manifest: Manifest) -> str:
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
    text += f"| largest difference ONNX − PyTorch | {metrics.onnx_max_difference:.1e} | ≤ 1e-04 |\n"
    text += CLUSTERS + "".join(
        f"| {k} | {c.share:.3f} | {c.fidelity:.3f} | {'–' if c.diversity is None else f'{c.diversity:.3f}'} |\n"
        for k, c in enumerate(metrics.clusters)
    )
    return text + IMAGE_LEVEL.format(basis=manifest.image_level.label_basis, **metrics.image_level)
