"""Evaluations of a bundle: its intervals, outliers, labels and prototypes, on tiles like its own and on others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.console import bar, keep_picture, keep_scores
from training.study.commands.options import MODEL, ExtractedCells, Graz, Model, OutDir, OutWithPicture

if TYPE_CHECKING:
    from app.pipeline.bundle.load import Bundle

SeveralSets = Annotated[Path, typer.Argument(metavar="DATA", help="directory that holds bm_graz/ and other data sets")]


def intervals(
    bm_graz: Graz,
    out: OutDir,
    bundle: Model = MODEL,
    draws: Annotated[int, typer.Option(min=1, help="simulated tiles of each size")] = 2000,
) -> None:
    """Count how often the intervals of proportions hold the truth, on tiles simulated from real cells."""
    import numpy as np

    from training.cells.tile_files import analyse_file, tile_paths
    from training.study.protocols.intervals import evaluate_intervals

    def score(model: Bundle) -> dict[str, Any]:
        analyses = [analyse_file(path, model)[0] for path in bar("tiles")(tile_paths(bm_graz / "tiles"))]
        probs = np.concatenate([analysis.cells.cluster_probs for analysis in analyses])
        counted = ~np.concatenate([analysis.proportions.outlier for analysis in analyses])
        return {"rows": evaluate_intervals(probs[counted], draws)}

    score_bundle(bundle, out / "intervals.json", score)


def outliers(data: SeveralSets, out: OutDir, bundle: Model = MODEL) -> None:
    """Count the outliers among cells of marrow, cells of other organs, and crops that show no whole nucleus."""
    from training.study.protocols.outliers import evaluate_outliers

    score_bundle(bundle, out / "outliers.json", lambda model: evaluate_outliers(data, model, bar("tiles")))


def novelty(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="directory that holds the sets of other organs")],
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="directory of the cells that the bundle learned from")],
    out: OutDir,
    bundle: Model = MODEL,
) -> None:
    """Count the tiles of other organs with a label, and the tiles of marrow that are called unlike; takes minutes."""
    from training.cells.extract import Cells
    from training.study.protocols.novelty import evaluate_novelty

    score_bundle(
        bundle, out / "novelty.json", lambda model: evaluate_novelty(data, model, Cells.load(cells), bar("tiles"))
    )


def adaptation(data: SeveralSets, out: OutDir, bundle: Model = MODEL) -> None:
    """Adapt a bundle to tiles recoloured as if other laboratories had made them; takes minutes."""
    from training.study.protocols.adaptation import evaluate_adaptation

    score_bundle(bundle, out / "adaptation.json", lambda model: evaluate_adaptation(data, model, bar("laboratories")))


def abstention(bm_graz: Graz, out: OutDir, bundle: Model = MODEL) -> None:
    """Count how often a label is withheld, and how often it is wrong, on shifted tiles; takes minutes."""
    from training.study.protocols.abstention import evaluate_abstention

    score_bundle(
        bundle, out / "abstention.json", lambda model: {"rows": evaluate_abstention(bm_graz, model, bar("tiles"))}
    )


def prototypes(cells: ExtractedCells, out: OutWithPicture, bundle: Model = MODEL) -> None:
    """Compare the prototypes of each cluster with its real cells, and look for copies; takes minutes."""
    from training.cells.extract import Cells
    from training.study.baselines.imagenet_cnn import ImageNetFeatures
    from training.study.figures.prototypes import draw_neighbours
    from training.study.protocols.prototypes import GENERATED, SEED, evaluate_prototypes

    def score(model: Bundle) -> dict[str, Any]:
        network, crops = ImageNetFeatures(SEED), Cells.load(cells).crops
        rows, pairs = evaluate_prototypes(crops, model, network.features, bar("clusters"))
        picture = keep_picture(out.parent / "figures" / "prototypes.jpg", draw_neighbours(pairs))
        typer.echo(f"{picture}: generated cells, and below each its nearest real cell", err=True)
        return {"network": network.network.name, "generated": GENERATED, "clusters": rows}

    score_bundle(bundle, out / "prototypes.json", score)


def score_bundle(directory: Path, path: Path, score: Callable[[Bundle], dict[str, Any]]) -> None:
    """Load a bundle, score it, and write the scores to a JSON file, with the bundle's name and the date."""
    from app.pipeline.bundle.load import load_bundle

    bundle = load_bundle(directory)
    keep_scores(path, {**about_bundle(bundle), "date": date.today().isoformat(), **score(bundle)})


def about_bundle(bundle: Bundle) -> dict[str, Any]:
    """Return the facts about a bundle that are kept with what was made with it."""
    return {"bundle": f"{bundle.manifest.name} {bundle.manifest.version}"}
