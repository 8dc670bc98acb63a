"""Evaluations of what is said about whole tiles: their label, their quality flags and their tissue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.console import bar, keep_scores
from training.study.commands.bundle import score_bundle
from training.study.commands.options import MODEL, Again, Clusterers, Graz, Model, Out, OutDir, Seeds, TileCells, chosen
from training.study.records import Records
from training.study.systems.cell_systems import CLUSTERERS, N_CLUSTERS, OURS

LymphNodes = Annotated[Path, typer.Argument(metavar="DATA", help="the data set fl_reactive: tiles/ and labels.csv")]


def tile_cells(
    data: LymphNodes, out: Annotated[Path, typer.Argument(help="directory to write tile_cells.npz into")]
) -> None:
    """Cut the cells out of labelled tiles, for `image-label`; takes minutes."""
    from training.study.labelled_tiles import TILE_CELLS, cut_labelled_tiles

    tiles = cut_labelled_tiles(data, bar("tiles"))
    tiles.save(out)
    typer.echo(f"{len(tiles.unlabelled)} cells of {len(tiles.tiles)} tiles in {out / TILE_CELLS}")


def image_label(
    cells: TileCells,
    out: Out,
    system: Clusterers = None,
    seeds: Seeds = 3,
    clusters: Annotated[list[int] | None, typer.Option(help="K; repeat for more")] = None,
    max_cells: Annotated[
        int, typer.Option(min=1, help="largest number of cells that a system learns from, in whole tiles")
    ] = 20_000,
    tiles: Annotated[
        Path | None, typer.Option(help="the data set fl_reactive, to score an ImageNet CNN on whole tiles as well")
    ] = None,
    again: Again = False,
) -> None:
    """Label tiles by their proportions in clusters (Table IV); the clusters are ours unless --system is given."""
    from training.study.labelled_tiles import LabelledTiles
    from training.study.protocols import image_label as protocol

    names = chosen(system, CLUSTERERS, (OURS,))
    task = protocol.ImageLabelTask(names, range(seeds), tuple(clusters or [N_CLUSTERS]), max_cells, again)
    labelled, records = LabelledTiles.load(cells), Records(out / "image_label.json")
    if tiles is not None:
        features = protocol.describe_whole_tiles(tiles, labelled.tiles, bar("tiles"))
        protocol.evaluate_whole_tiles(cells.name, features, labelled, records)
    protocol.evaluate_image_label(cells.name, labelled, task, records, typer.echo)


def bundle_label(data: LymphNodes, out: Out, bundle: Model = MODEL) -> None:
    """Label tiles by what a bundle finds in them: proportions, with measurements or without, or only how many cells."""
    from app.pipeline.bundle.load import load_bundle
    from training.study.labelled_tiles import read_labelled
    from training.study.protocols.image_label import analyse_labelled, evaluate_bundle

    paths, positive, blocks = read_labelled(data)
    tiles = analyse_labelled(paths, load_bundle(bundle), bar("tiles"))
    evaluate_bundle(data.name, tiles, positive, blocks, Records(out / "image_label.json"))


def quality(bm_graz: Graz, out: OutDir) -> None:
    """Count which quality flags are raised on good and on degraded tiles of `bm_graz`; takes minutes."""
    from app.pipeline.presets import DEFAULT
    from training.study.protocols.quality import evaluate_quality

    keep_scores(out / "quality.json", evaluate_quality(bm_graz, DEFAULT, bar("tiles")))


def tissue(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="the data set mds_cores: tiles/ and maps/")],
    out: OutDir,
    bundle: Model = MODEL,
    mpp: Annotated[float, typer.Option(help="µm per pixel of the cores, which the data set does not state")] = 1.0,
) -> None:
    """Compare the shares of tissue with another program's maps of five cores; takes a minute."""
    from training.study.protocols.tissue import evaluate_tissue

    score_bundle(bundle, out / "tissue.json", lambda model: evaluate_tissue(data, model, mpp, bar("cores")))
