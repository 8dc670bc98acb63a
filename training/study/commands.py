"""`python -m training evaluate`: a command for each evaluation and, under `figure`, for each of the paper's figures.

Each command imports what it needs when it runs, so that `--help` and a wrong argument are answered at once, and a
command that trains nothing does not load PyTorch.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.config import load_config, read_config, write_config
from training.console import bar, keep_scores
from training.errors import ConfigError
from training.study.systems.cell_systems import (
    BY_KMEANS,
    CEILINGS,
    CLUSTERERS,
    DESCRIBERS,
    N_CLUSTERS,
    VARIANTS,
    LazySystem,
    check_known,
    clusterer,
)

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

    from app.pipeline.bundle.load import Bundle
    from training.study.interfaces import ClustererFactory
    from training.study.protocols.classification import Predicted
    from training.study.records import Record
    from training.study.typed_cells import TypedCells

OURS = "ours"
RESULTS, MODEL = Path("docs/results"), Path("models/marrow")

Cells = Annotated[
    list[Path], typer.Argument(metavar="CELLS…", help="directories that `labelled` wrote, named after their sets")
]
TileCells = Annotated[
    Path, typer.Argument(metavar="CELLS", help="directory that `tile-cells` wrote, named after its set")
]
Graz = Annotated[Path, typer.Argument(metavar="DATA", help="the data set bm_graz: tiles/")]
GrazWithDots = Annotated[
    Path, typer.Argument(metavar="DATA", help="the data set bm_graz: tiles/, cells_mbm.csv and cells.csv")
]
Out = Annotated[Path, typer.Argument(help="directory of the results; what is already recorded there is kept")]
OutDir = Annotated[Path, typer.Argument(help="directory of the results")]
Figures = Annotated[Path, typer.Argument(help="directory of the results; pictures are written to figures/ beside it")]
Run = Annotated[Path, typer.Argument(help="directory of a run")]
Model = Annotated[Path, typer.Option(help="bundle that analyses the tiles")]
Segmenter = Annotated[
    Path | None, typer.Option(help="directory of a finished run of `segmenter`, to score preset `learned` as well")
]
Rivals = Annotated[
    bool,
    typer.Option(
        "--rivals/--no-rivals",
        help="run HistomicsTK's recipes as well, which takes minutes; else keep their recorded rows",
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="number of seeds: 0, 1, …")]
Splits = Annotated[int, typer.Option(min=2, help="number of splits by tile, the same for every system")]
SeedsOfASplit = Annotated[int, typer.Option(min=1, help="number of seeds of the system for each split: 0, 1, …")]
Again = Annotated[bool, typer.Option("--again", help="measure again what is already recorded")]
Clusterers = Annotated[
    list[str] | None, typer.Option("--system", help=f"one of {', '.join(CLUSTERERS)}; repeat for more")
]
Describers = Annotated[
    list[str] | None, typer.Option("--system", help=f"one of {', '.join(DESCRIBERS)}; repeat for more")
]

evaluate = typer.Typer(no_args_is_help=True, help="Measure the method and its rivals on the public data sets.")
figure = typer.Typer(no_args_is_help=True, help="Draw the paper's figures, for the report.")


@evaluate.command()
def clustering(
    cells: Cells,
    out: Out,
    system: Clusterers = None,
    seeds: Seeds = 3,
    clusters: int = N_CLUSTERS,
    again: Again = False,
) -> None:
    """Score clusters against types (Table III); takes hours, and can be interrupted."""
    from training.study.protocols.clustering import ClusteringTask, evaluate_clustering
    from training.study.records import Records

    task = ClusteringTask(_chosen(system, tuple(CLUSTERERS)), range(seeds), (clusters,), again)
    evaluate_clustering(_load(cells), task, Records(out / "clustering.json"), typer.echo)


@evaluate.command("n-clusters")
def n_clusters(cells: Cells, out: Out, system: Clusterers = None, seeds: Seeds = 3, again: Again = False) -> None:
    """Do the same for 4, 5 and 6 clusters (Table II); what `clustering` recorded is used."""
    from training.study.protocols.clustering import ClusteringTask, evaluate_clustering
    from training.study.records import Records

    task = ClusteringTask(_chosen(system, (*BY_KMEANS, OURS)), range(seeds), (4, 5, 6), again)
    evaluate_clustering(_load(cells), task, Records(out / "clustering.json"), typer.echo)


@evaluate.command()
def ablation(cells: Cells, out: Out, seeds: Seeds = 3, again: Again = False) -> None:
    """Score variants of our method, each with a part left out or changed; what `clustering` recorded of it is used."""
    from training.study.protocols.clustering import ClusteringTask, evaluate_clustering
    from training.study.records import Records

    variants: dict[str, ClustererFactory] = VARIANTS.load()()
    task = ClusteringTask(tuple(variants), range(seeds), (N_CLUSTERS,), again)
    sets, records = _load(cells), Records(out / "ablation.json")
    for record in Records(out / "clustering.json").read():
        if (record["system"], record["n_clusters"]) == (OURS, N_CLUSTERS) and record["set"] in sets:
            records.keep(record)
    evaluate_clustering(sets, task, records, typer.echo, variants.__getitem__)


@evaluate.command()
def agreement(
    cells: Annotated[list[Path], typer.Argument(metavar="CELLS…", help="directories that `cells` or `labelled` wrote")],
    out: Out,
    system: Annotated[str, typer.Option(help=f"one of {', '.join(CLUSTERERS)}")] = OURS,
    seeds: Annotated[int, typer.Option(min=2, help="number of seeds: 0, 1, …")] = 3,
) -> None:
    """Compare the clusters that a system finds with different seeds."""
    from training.study.protocols.clustering import evaluate_agreement
    from training.study.records import Records
    from training.study.typed_cells import load_unlabelled

    sets = {directory.name: load_unlabelled(directory) for directory in cells}
    named = (system, clusterer(system))
    evaluate_agreement(sets, named, N_CLUSTERS, range(seeds), Records(out / "agreement.json"), typer.echo)


@evaluate.command()
def stability(
    cells: Annotated[list[Path], typer.Argument(metavar="CELLS…", help="directories that `cells` or `labelled` wrote")],
    out: Out,
    config: Annotated[Path, typer.Option(help="a shipped configuration, or a TOML file")] = Path("cpu"),
    clusters: Annotated[list[int] | None, typer.Option(min=2, help="K; repeat for more  [default: 3 to 8]")] = None,
    seeds: Annotated[int, typer.Option(min=2, help="number of seeds: 0, 1, …")] = 3,
    again: Again = False,
) -> None:
    """Compare the clusters of different seeds for each number of clusters, to choose it by; needs no types."""
    load_config(config)
    from training.study.protocols.stability import StabilityTask, evaluate_stability
    from training.study.records import Records
    from training.study.systems.marrowscope_system import MarrowscopeSystem
    from training.study.typed_cells import load_unlabelled

    sets = {directory.name: load_unlabelled(directory) for directory in cells}
    task = StabilityTask(config.stem, tuple(range(seeds)), tuple(clusters or range(3, 9)), again)
    create = partial(MarrowscopeSystem, config=str(config))
    evaluate_stability(sets, task, create, Records(out / "stability.json"), typer.echo)


@evaluate.command()
def classification(
    cells: Cells,
    out: Out,
    system: Annotated[
        list[str] | None,
        typer.Option("--system", help=f"one of {', '.join(DESCRIBERS | CEILINGS)}; repeat for more"),
    ] = None,
    splits: Splits = 10,
    seeds: SeedsOfASplit = 1,
    again: Again = False,
) -> None:
    """Score features with a linear SVM that learns the types (Table I), and draw Fig. 7."""
    from training.study.protocols.classification import ClassificationTask, evaluate_classification
    from training.study.records import Records

    sets = _load(cells)
    known = DESCRIBERS | CEILINGS
    task = ClassificationTask(_chosen(system, tuple(known), known), range(splits), range(seeds), again)
    records = Records(out / "classification.json")
    evaluate_classification(sets, task, records, typer.echo, partial(_draw_predicted, out, sets))


@evaluate.command("few-labels")
def few_labels(
    cells: Cells,
    out: Out,
    system: Describers = None,
    splits: Splits = 10,
    seeds: SeedsOfASplit = 1,
    again: Again = False,
) -> None:
    """Score features when only 5 to 500 cells of each type are named, on the splits of `classification`."""
    from training.study.protocols.classification import ClassificationTask
    from training.study.protocols.few_labels import evaluate_few_labels
    from training.study.records import Records

    task = ClassificationTask(_chosen(system, tuple(DESCRIBERS), DESCRIBERS), range(splits), range(seeds), again)
    evaluate_few_labels(_load(cells), task, Records(out / "few_labels.json"), typer.echo)


@evaluate.command()
def teach(
    cells: Cells,
    out: Out,
    system: Describers = None,
    splits: Splits = 5,
    seeds: SeedsOfASplit = 1,
    again: Again = False,
) -> None:
    """Count the actions that a simulated reviewer needs to teach cell types, on the splits of `classification`."""
    from training.study.protocols.classification import ClassificationTask
    from training.study.protocols.teach import evaluate_teach
    from training.study.records import Records

    task = ClassificationTask(_chosen(system, tuple(DESCRIBERS), DESCRIBERS), range(splits), range(seeds), again)
    evaluate_teach(_load(cells), task, Records(out / "teach.json"), typer.echo)


@evaluate.command()
def site(cells: Cells, out: Out, system: Describers = None, seeds: Seeds = 3, again: Again = False) -> None:
    """Score how well the tile that a cell comes from can be told from its features, beside its type."""
    from training.study.protocols.site import SiteTask, evaluate_site
    from training.study.records import Records

    task = SiteTask(_chosen(system, tuple(DESCRIBERS), DESCRIBERS), range(seeds), again)
    evaluate_site(_load(cells), task, Records(out / "site.json"), typer.echo)


@evaluate.command("tile-cells")
def tile_cells(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="the data set fl_reactive: tiles/ and labels.csv")],
    out: Annotated[Path, typer.Argument(help="directory to write tile_cells.npz into")],
) -> None:
    """Cut the cells out of labelled tiles, for `image-label`; takes minutes."""
    from training.study.labelled_tiles import TILE_CELLS, cut_labelled_tiles

    tiles = cut_labelled_tiles(data, bar("tiles"))
    tiles.save(out)
    typer.echo(f"{len(tiles.unlabelled)} cells of {len(tiles.tiles)} tiles in {out / TILE_CELLS}")


@evaluate.command("image-label")
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
    from training.study.protocols.image_label import (
        ImageLabelTask,
        describe_whole_tiles,
        evaluate_image_label,
        evaluate_whole_tiles,
    )
    from training.study.records import Records

    task = ImageLabelTask(_chosen(system, (OURS,)), range(seeds), tuple(clusters or [N_CLUSTERS]), max_cells, again)
    labelled, records = LabelledTiles.load(cells), Records(out / "image_label.json")
    if tiles is not None:
        features = describe_whole_tiles(tiles, labelled.tiles, bar("tiles"))
        evaluate_whole_tiles(cells.name, features, labelled, records)
    evaluate_image_label(cells.name, labelled, task, records, typer.echo)


@evaluate.command("bundle-label")
def bundle_label(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="the data set fl_reactive: tiles/ and labels.csv")],
    out: Out,
    bundle: Model = MODEL,
) -> None:
    """Label tiles by what a bundle finds in them: proportions, with measurements or without, or only how many cells."""
    from app.pipeline.bundle.load import load_bundle
    from training.study.labelled_tiles import read_labelled
    from training.study.protocols.image_label import analyse_labelled, evaluate_bundle
    from training.study.records import Records

    paths, positive, blocks = read_labelled(data)
    tiles = analyse_labelled(paths, load_bundle(bundle), bar("tiles"))
    evaluate_bundle(data.name, tiles, positive, blocks, Records(out / "image_label.json"))


@evaluate.command()
def purity(
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="directory that `labelled` wrote")],
    run: Annotated[Path, typer.Argument(help="directory of the run; an unfinished run is resumed")],
    config: Annotated[Path, typer.Option(help="a shipped configuration, or a TOML file")] = Path("cpu"),
    every: Annotated[int, typer.Option(min=1, help="iterations between two scores")] = 250,
) -> None:
    """Train the GAN on typed cells and score its clusters as it learns, for `figure curves`."""
    settings = load_config(config)
    from training.study.protocols.clustering import purity_while_training
    from training.study.typed_cells import TypedCells

    typed = TypedCells.load(cells)
    write_config(replace(settings, data=replace(settings.data, name=cells.name)), run)
    purity_while_training(typed, settings.train, run, every, _device(), bar("pauses"))


@evaluate.command()
def intervals(
    bm_graz: Graz,
    out: OutDir,
    bundle: Model = MODEL,
    draws: Annotated[int, typer.Option(min=1, help="simulated tiles of each size")] = 2000,
) -> None:
    """Count how often the intervals of proportions hold the truth, on tiles simulated from real cells."""
    import numpy as np

    from app.pipeline.bundle.load import load_bundle
    from training.cells.tile_files import analyse_file, tile_paths
    from training.study.protocols.intervals import evaluate_intervals

    model = load_bundle(bundle)
    analyses = [analyse_file(path, model)[0] for path in bar("tiles")(tile_paths(bm_graz / "tiles"))]
    probs = np.concatenate([analysis.cells.cluster_probs for analysis in analyses])
    counted = ~np.concatenate([analysis.proportions.outlier for analysis in analyses])
    _keep_scores(out, "intervals", model, {"rows": evaluate_intervals(probs[counted], draws)})


@evaluate.command()
def outliers(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="directory that holds bm_graz/ and other data sets")],
    out: OutDir,
    bundle: Model = MODEL,
) -> None:
    """Count the outliers among cells of marrow, cells of other organs, and crops that show no whole nucleus."""
    from app.pipeline.bundle.load import load_bundle
    from training.study.protocols.outliers import evaluate_outliers

    model = load_bundle(bundle)
    _keep_scores(out, "outliers", model, evaluate_outliers(data, model, bar("tiles")))


@evaluate.command()
def novelty(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="directory that holds the sets of other organs")],
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="directory of the cells that the bundle learned from")],
    out: OutDir,
    bundle: Model = MODEL,
) -> None:
    """Count the tiles of other organs with a label, and the tiles of marrow that are called unlike; takes minutes."""
    from app.pipeline.bundle.load import load_bundle
    from training.cells.extract import Cells
    from training.study.protocols.novelty import evaluate_novelty

    model = load_bundle(bundle)
    _keep_scores(out, "novelty", model, evaluate_novelty(data, model, Cells.load(cells), bar("tiles")))


@evaluate.command()
def adaptation(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="directory that holds bm_graz/ and other data sets")],
    out: OutDir,
    bundle: Model = MODEL,
) -> None:
    """Adapt a bundle to tiles recoloured as if other laboratories had made them; takes minutes."""
    from app.pipeline.bundle.load import load_bundle
    from training.study.protocols.adaptation import evaluate_adaptation

    model = load_bundle(bundle)
    _keep_scores(out, "adaptation", model, evaluate_adaptation(data, model, bar("laboratories")))


@evaluate.command()
def abstention(bm_graz: Graz, out: OutDir, bundle: Model = MODEL) -> None:
    """Count how often a label is withheld, and how often it is wrong, on shifted tiles; takes minutes."""
    from app.pipeline.bundle.load import load_bundle
    from training.study.protocols.abstention import evaluate_abstention

    model = load_bundle(bundle)
    _keep_scores(out, "abstention", model, {"rows": evaluate_abstention(bm_graz, model, bar("tiles"))})


@evaluate.command()
def detection(bm_graz: GrazWithDots, out: OutDir, segmenter: Segmenter = None, rivals: Rivals = True) -> None:
    """Score detection against the dots of `bm_graz`, on the tuning and the test tiles."""
    from training.study.protocols.segmentation import evaluate_detection
    from training.study.systems.segmentation_systems import preset_systems, segmentation_systems

    systems = (segmentation_systems if rivals else preset_systems)(segmenter)
    scores = evaluate_detection(bm_graz, systems, bar("tiles"))
    keep_scores(out / "detection.json", scores | _recorded_rivals(out / "detection.json", scores))


@evaluate.command()
def errors(
    bm_graz: GrazWithDots,
    out: Annotated[Path, typer.Argument(help="picture to write")] = Path("docs/detection-errors.jpg"),
    segmenter: Segmenter = None,
) -> None:
    """Draw what is missed and what nobody marked on the test tiles of `bm_graz`, by `default` or by a network."""
    from PIL import Image

    from app.pipeline.networks.open import open_segmenter
    from app.pipeline.presets import DEFAULT, LEARNED
    from training.study.figures.errors import draw_detection_errors
    from training.study.systems.segmentation_systems import by_preset

    system = (
        partial(by_preset, LEARNED, network=open_segmenter(segmenter)) if segmenter else partial(by_preset, DEFAULT)
    )
    picture = draw_detection_errors(bm_graz, system, bar("tiles"))
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(out, quality=88)
    typer.echo(str(out))


@evaluate.command()
def segmentation(
    datasets: Annotated[Path, typer.Argument(metavar="DATA", help="directory that holds monuseg/, consep/ or both")],
    out: OutDir,
    segmenter: Segmenter = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET=RUN",
            help="finished run of `segmenter` that has not seen any tile of the set; repeat for the other set",
        ),
    ] = None,
    rivals: Rivals = True,
) -> None:
    """Score masks against those of `monuseg` and `consep`; `default` is tuned on those of `monuseg`."""
    runs = dict(_set_and_run(text) for text in held_out or [])
    from training.study.protocols.segmentation import evaluate_segmentation
    from training.study.systems.segmentation_systems import LearnedSystem, preset_systems, segmentation_systems

    systems = (segmentation_systems if rivals else preset_systems)(segmenter)
    networks = {name: LearnedSystem(run) for name, run in runs.items()}
    result = evaluate_segmentation(datasets, systems, networks, bar("tiles"))
    path = out / "segmentation.json"
    keep_scores(path, {name: scores | _recorded_rivals(path, scores, name) for name, scores in result.items()})


@evaluate.command()
def missed(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="directory that holds some of monuseg/, consep/ and bm_graz/")
    ],
    out: Annotated[Path, typer.Argument(help="directory of the results; a picture is written to figures/ beside it")],
    segmenter: Segmenter = None,
) -> None:
    """Count which nuclei are found, by size and by darkness, and draw those that are not; takes minutes."""
    from PIL import Image

    from training.study.figures.errors import draw_missed_nuclei
    from training.study.protocols.missed import DOT_SET, evaluate_missed
    from training.study.systems.segmentation_systems import preset_systems

    systems = preset_systems(segmenter)
    keep_scores(out / "missed.json", evaluate_missed(data, systems, bar("tiles")))
    if (data / DOT_SET).is_dir():
        # The last one is preset `learned`, if it takes part.
        drawn = next(reversed(systems)) if segmenter else next(iter(systems))
        picture = out.parent / "figures" / "missed-nuclei.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_missed_nuclei(data / DOT_SET, systems[drawn], bar("tiles"))).save(picture, quality=85)
        typer.echo(f"{picture}: what preset `{drawn}` misses", err=True)


@evaluate.command()
def sizes(
    out: OutDir,
    segmenter: Segmenter = None,
    tiles: Annotated[int, typer.Option(min=1, help="number of tiles to draw")] = 24,
) -> None:
    """Count which drawn nuclei are found, by size, density and situation, and compare their areas; takes minutes."""
    from training.study.protocols.sizes import evaluate_sizes
    from training.study.systems.segmentation_systems import preset_systems

    keep_scores(out / "sizes.json", evaluate_sizes(preset_systems(segmenter), tiles, bar("tiles")))


@evaluate.command()
def quality(bm_graz: Graz, out: OutDir) -> None:
    """Count which quality flags are raised on good and on degraded tiles of `bm_graz`; takes minutes."""
    from app.pipeline.presets import DEFAULT
    from training.study.protocols.quality import evaluate_quality

    keep_scores(out / "quality.json", evaluate_quality(bm_graz, DEFAULT, bar("tiles")))


@evaluate.command()
def tissue(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="the data set mds_cores: tiles/ and maps/")],
    out: OutDir,
    bundle: Model = MODEL,
    mpp: Annotated[float, typer.Option(help="µm per pixel of the cores, which the data set does not state")] = 1.0,
) -> None:
    """Compare the shares of tissue with another program's maps of five cores; takes a minute."""
    from app.pipeline.bundle.load import load_bundle
    from training.study.protocols.tissue import evaluate_tissue

    model = load_bundle(bundle)
    _keep_scores(out, "tissue", model, evaluate_tissue(data, model, mpp, bar("cores")))


@evaluate.command()
def prototypes(
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="directory that `cells` wrote")],
    out: Annotated[Path, typer.Argument(help="directory of the results; a picture is written to figures/ beside it")],
    bundle: Model = MODEL,
) -> None:
    """Compare the prototypes of each cluster with its real cells, and look for copies; takes minutes."""
    from PIL import Image

    from app.pipeline.bundle.load import load_bundle
    from training.cells.extract import Cells as ExtractedCells
    from training.study.baselines.imagenet_cnn import ImageNetFeatures
    from training.study.figures.prototypes import draw_neighbours
    from training.study.protocols.prototypes import GENERATED, SEED, evaluate_prototypes

    model, network = load_bundle(bundle), ImageNetFeatures(SEED)
    crops = ExtractedCells.load(cells).crops
    rows, pairs = evaluate_prototypes(crops, model, network.features, bar("clusters"))
    scores = {"network": network.network.name, "generated": GENERATED, "clusters": rows}
    _keep_scores(out, "prototypes", model, scores)
    picture = out.parent / "figures" / "prototypes.jpg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_neighbours(pairs)).save(picture, quality=85)
    typer.echo(f"{picture}: generated cells, and below each its nearest real cell", err=True)


@evaluate.command("training-speed")
def training_speed(
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="directory that `cells` wrote")],
    out: Annotated[
        Path, typer.Argument(help="directory of the results; rows of other sizes and machines are kept there")
    ],
    config: Annotated[Path, typer.Option(help="configuration whose size is trained; the recipe is the paper's")] = Path(
        "paper-cpu"
    ),
    iterations: Annotated[int, typer.Option(min=1, help="iterations of each loop in each round")] = 5,
) -> None:
    """Time our training loop and a plain one in turn, on CUDA or else on the CPU; `paper` has the paper's size."""
    settings = load_config(config)
    from training.cells.extract import Cells as ExtractedCells
    from training.study.protocols.training_speed import keep_rows, measure_training_speed

    crops = ExtractedCells.load(cells).crops
    rows = measure_training_speed(settings.train, crops, _device(), iterations, bar("rounds"))
    keep_rows(out / "training_speed.json", rows)
    typer.echo(json.dumps(rows, indent=2))


@figure.command()
def noise(run: Run, results: Figures = RESULTS) -> None:
    """Draw how noise becomes cells while a run learns (Fig. 5)."""
    from training.study.figures.learning import draw_noise

    _keep_figure(draw_noise(run), results, "noise", _about_run(run))


@figure.command()
def curves(run: Run, results: Figures = RESULTS) -> None:
    """Draw the losses and the purity of a run of `evaluate purity` (Fig. 9)."""
    from training.study.figures.learning import draw_curves

    _keep_figure(draw_curves(run), results, "curves", _about_run(run))


@figure.command()
def clusters(data: Graz, results: Figures = RESULTS, bundle: Model = MODEL) -> None:
    """Draw sixty cells of each cluster of the bundle (Fig. 8)."""
    import numpy as np

    from app.pipeline.bundle.load import load_bundle
    from training.cells.tile_files import analyse_file, tile_paths
    from training.study.figures.cells import draw_clusters

    model = load_bundle(bundle)
    analysed = [analyse_file(path, model) for path in bar("tiles")(tile_paths(data / "tiles"))]
    crops = np.concatenate([stages.crops for _, stages in analysed])
    clusters = np.concatenate([analysis.proportions.clusters for analysis, _ in analysed])
    drawn = draw_clusters(crops, clusters, model.manifest.n_clusters, seed=0)
    _keep_figure(drawn, results, "clusters", {**_about_bundle(model), "set": data.name, "cells": len(crops)})


@figure.command()
def proportions(cells: TileCells, data: Graz, results: Figures = RESULTS, bundle: Model = MODEL) -> None:
    """Draw the proportions of tiles on their principal components (Fig. 10)."""
    import numpy as np

    from app.pipeline.bundle.load import load_bundle
    from app.pipeline.crops import seen
    from app.pipeline.networks.encode import encode
    from training.cells.tile_files import analyse_file, tile_paths
    from training.study.figures.proportions import draw_proportions
    from training.study.labelled_tiles import LabelledTiles
    from training.study.protocols.image_label import mean_by_tile

    model = load_bundle(bundle)
    tiles = LabelledTiles.load(cells)
    crops = seen(tiles.unlabelled.crops, model.manifest.architecture.crops)
    encoded = encode(crops, model.backend, model.manifest.n_clusters, "fast")
    # All cells of the lymph nodes count, because most of them would be outliers to a bundle of marrow.
    hard = np.eye(model.manifest.n_clusters)[encoded.cluster_probs.argmax(axis=1)]
    labelled = mean_by_tile(hard, tiles.unlabelled, len(tiles.tiles))
    marrow = [analyse_file(path, model)[0].proportions.values for path in bar("tiles")(tile_paths(data / "tiles"))]
    groups = {
        "follicular lymphoma": labelled[tiles.positive == 1],
        "reactive lymph node": labelled[tiles.positive == 0],
        "healthy marrow": np.array([values for values in marrow if values is not None]),
    }
    about = {**_about_bundle(model), "sets": [cells.name, data.name]}
    _keep_figure(draw_proportions(groups), results, "proportions", about)


evaluate.add_typer(figure, name="figure")


def _chosen(
    given: list[str] | None, default: tuple[str, ...], known: dict[str, LazySystem] = CLUSTERERS
) -> tuple[str, ...]:
    """Return the systems to run; an unknown name is an error before any system is run."""
    chosen = tuple(given or default)
    for name in chosen:
        check_known(known, name)
    return chosen


def _recorded_rivals(path: Path, scores: dict[str, Any], set_name: str | None = None) -> dict[str, Any]:
    """Return the recorded rows of HistomicsTK's recipes that were not measured again, of one set or of the only one."""
    from training.study.systems.segmentation_systems import RIVALS

    recorded = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = recorded if set_name is None else recorded.get(set_name, {})
    return {name: rows[name] for name in RIVALS if name in rows and name not in scores}


def _set_and_run(text: str) -> tuple[str, Path]:
    """Read SET=RUN."""
    name, _, run = text.partition("=")
    if not name or not run:
        raise ConfigError(f"--held-out must be SET=RUN, such as monuseg=runs/other; found '{text}'.")
    return name, Path(run)


def _load(directories: list[Path]) -> dict[str, TypedCells]:
    from training.study.typed_cells import TypedCells

    return {directory.name: TypedCells.load(directory) for directory in directories}


def _device() -> torch.device:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _keep_scores(out: Path, name: str, bundle: Bundle, scores: dict[str, Any]) -> None:
    """Write the scores of a bundle to a JSON file, with the bundle's name and the date."""
    keep_scores(out / f"{name}.json", {**_about_bundle(bundle), "date": date.today().isoformat(), **scores})


def _keep_figure(drawn: Figure, results: Path, name: str, about: dict[str, Any]) -> None:
    from training.study.figures.canvas import keep_figure

    typer.echo(str(keep_figure(drawn, results, name, about)))


def _draw_predicted(out: Path, sets: dict[str, TypedCells], record: Record, predicted: Predicted) -> None:
    """Draw Fig. 7 for the first split and seed of our method."""
    if (record["system"], record["split"], record["seed"]) != (OURS, 0, 0):
        return
    from training.study.figures.canvas import keep_figure
    from training.study.figures.cells import draw_right_and_wrong

    drawn = draw_right_and_wrong(sets[record["set"]], predicted.cells, predicted.types, seed=0)
    about = {"set": record["set"], "seed": 0, "f1": record["f1"], "date": record["date"]}
    keep_figure(drawn, out, f"classification-{record['set']}", about)


def _about_run(run: Path) -> dict[str, Any]:
    config = read_config(run)
    encoder = config.train.encoder
    return {
        "set": config.data.name,
        "channels": config.train.channels,
        **({"encoder_width": encoder.width} if encoder else {}),
        "n_clusters": config.train.n_clusters,
        "seed": config.train.seed,
    }


def _about_bundle(bundle: Bundle) -> dict[str, Any]:
    return {"bundle": f"{bundle.manifest.name} {bundle.manifest.version}"}
