"""`python -m training evaluate` intervals, outliers and abstention: whether the bundle knows what it does not know."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from app.pipeline.bundle.load import Bundle, load_bundle
from training.cells.tile_files import analyse_file, tile_paths
from training.console import bar, keep_scores
from training.representation.anchors import anchor_cells
from training.study.protocols.abstention import evaluate_abstention
from training.study.protocols.intervals import evaluate_intervals
from training.study.protocols.outliers import evaluate_outliers

Graz = Annotated[Path, typer.Argument(metavar="DATA", help="the data set bm_graz: tiles/")]
Out = Annotated[Path, typer.Argument(help="directory of the results")]
Model = Annotated[Path, typer.Option(help="bundle to measure")]
MODEL = Path("models/marrow")


def intervals(
    bm_graz: Graz,
    out: Out,
    bundle: Model = MODEL,
    draws: Annotated[int, typer.Option(min=1, help="simulated tiles of each size")] = 2000,
) -> None:
    """Count how often the intervals of proportions hold the truth, on tiles simulated from real cells."""
    model = load_bundle(bundle)
    seen = [analyse_file(path, model) for path in bar("tiles")(tile_paths(bm_graz / "tiles"))]
    crops = np.concatenate([stages.crops for _, stages in seen])
    probs = np.concatenate([analysis.cells.cluster_probs for analysis, _ in seen])
    train: Any = model.manifest.training.config["train"]
    anchors = anchor_cells(crops, model.manifest.n_clusters, train["seed"])
    counted = ~np.concatenate([analysis.proportions.outlier for analysis, _ in seen])
    _keep(out, "intervals", model, {"rows": evaluate_intervals(probs[counted], anchors[counted], draws)})


def outliers(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="directory that holds bm_graz/ and other data sets")],
    out: Out,
    bundle: Model = MODEL,
) -> None:
    """Count which cells of marrow, of other organs, and what is no cell at all, are called outliers."""
    model = load_bundle(bundle)
    _keep(out, "outliers", model, evaluate_outliers(data, model, bar("tiles")))


def abstention(bm_graz: Graz, out: Out, bundle: Model = MODEL) -> None:
    """Count how often a label is withheld, and how often it is wrong, on shifted tiles; takes minutes."""
    model = load_bundle(bundle)
    _keep(out, "abstention", model, {"rows": evaluate_abstention(bm_graz, model, bar("tiles"))})


COMMANDS: dict[str, Callable[..., None]] = {"intervals": intervals, "outliers": outliers, "abstention": abstention}


def _keep(out: Path, name: str, bundle: Bundle, found: dict[str, Any]) -> None:
    about = {"bundle": f"{bundle.manifest.name} {bundle.manifest.version}", "date": date.today().isoformat()}
    keep_scores(out / f"{name}.json", {**about, **found})
