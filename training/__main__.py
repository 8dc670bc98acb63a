"""`python -m training`: cells · labelled · segmenter · pretrain · train · fit · evaluate · export · refit · report.

Each command imports what it needs when it runs, so that `--help` and a wrong argument are answered at once, and a
command that trains nothing does not load PyTorch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.pipeline.errors import PipelineError
from app.pipeline.presets import LEARNED, PRESETS, Engine
from app.streams import write_any_text
from training.config import SHIPPED_NAMES, load_config, load_segmenter_config, read_config, write_config
from training.console import bar, write_text
from training.errors import ConfigError, DataError, TrainingError
from training.study.commands import evaluate

if TYPE_CHECKING:
    import torch

    from training.cells.extract import Cells
    from training.cells.tile_labels import TileLabels
    from training.config import Config
    from training.gan.trainer import Trainer

BENCH = {"speed": "bench.json", "slides": "slides.json"}
"""The files that `make bench` and `python -m bench.slides` write, beside the results of `evaluate`."""

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Offline: tiles → cells → GAN → image-level model → bundle.",
)
cli.add_typer(evaluate, name="evaluate")
RunDir = Annotated[Path, typer.Argument(help="directory of a run, as `train` made it")]
ConfigFile = Annotated[Path, typer.Option(help=f"one of {', '.join(SHIPPED_NAMES)}, or a TOML file")]
NewSeed = Annotated[int | None, typer.Option(help="replaces the seed of the configuration")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: one per core")]


@cli.command()
def cells(
    tiles: Annotated[Path, typer.Argument(help="directory of PNG, JPEG or TIFF tiles")],
    out: Annotated[Path, typer.Argument(help="directory to write cells.npz into")],
    preset: Annotated[str, typer.Option(help=f"segmentation preset: {', '.join(PRESETS)}")] = "default",
    segmenter: Annotated[
        Path | None, typer.Option(help="finished run of `segmenter`: its network finds the nuclei, by preset learned")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="computes the stains; the bundle will use the same engine")] = "native",
    mpp: Annotated[
        float, typer.Option(min=0.05, max=4, help="µm per pixel of the tiles, as in the configuration")
    ] = 0.25,
    labels: Annotated[
        Path | None, typer.Option(help="CSV of tile,label[,patient]  [default: TILES/labels.csv, if it exists]")
    ] = None,
) -> None:
    """Cut the cells out of every tile, with the pipeline that serves, and keep the labels of the tiles with them."""
    if segmenter is not None:
        preset = LEARNED.preset
    elif preset not in PRESETS:
        raise ConfigError(f"There is no preset '{preset}'; the presets are: {', '.join(PRESETS)}.")
    from app.pipeline.networks.open import open_segmenter
    from training.cells.extract import CELLS, copy_segmenter, extract_cells
    from training.cells.tile_files import tile_paths

    paths = tile_paths(tiles)
    tile_labels = _find_labels(labels, tiles, paths)
    params = (LEARNED if segmenter else PRESETS[preset]).model_copy(update={"engine": engine})
    network = open_segmenter(segmenter) if segmenter else None
    found = extract_cells(paths, params, mpp, bar("tiles"), tile_labels, network)
    found.save(out)
    if segmenter is not None:
        copy_segmenter(segmenter, out)
    if found.empty_tiles:
        typer.echo(f"Left out, since no cell was found in them: {', '.join(found.empty_tiles)}", err=True)
    typer.echo(f"{len(found)} cells of {len(found.tiles)} tiles in {out / CELLS}; {_describe(tile_labels)}")


@cli.command()
def labelled(
    directory: Annotated[Path, typer.Argument(metavar="DATA", help="the data set crchisto or consep")],
    out: Annotated[Path, typer.Argument(help="directory to write labelled.npz into")],
) -> None:
    """Cut out the cells of crchisto or consep whose type is known, to score clusters with."""
    from training.study.typed_cells import LABELLED, cut_typed_cells

    found = cut_typed_cells(directory, bar("tiles"))
    found.save(out)
    typer.echo(f"{len(found.types)} typed cells of {len(found.tiles)} tiles in {out / LABELLED}")


@cli.command()
def pretrain(
    cells: Annotated[Path, typer.Argument(help="directory that `cells` wrote")],
    run: Annotated[Path, typer.Argument(help="directory of the run; an unfinished encoder is resumed")],
    config: ConfigFile = Path("cpu"),
    seed: NewSeed = None,
    stop_after: Annotated[int | None, typer.Option(min=1, help="pause after this epoch; run again to go on")] = None,
    threads: Threads = None,
) -> None:
    """Train the encoder that Q stands on, without any label: encoder.pt and encoder.jsonl in the run, for `train`.

    It learns to know each cell again in random views of it; [train.encoder] of the configuration says which.
    """
    settings = load_config(config, seed)
    if settings.train.encoder is None:
        raise ConfigError(f"{config} has no encoder; describe one in its section [train.encoder].")
    found = _begin_run(settings, config, cells, run)

    from training.representation.pretrain import LOG
    from training.representation.pretrain import pretrain as train_encoder
    from training.tracking import MetricsLog

    _set_threads(threads)
    device = _device()
    train_encoder(settings.train, found.unlabelled, run, device, stop_after=stop_after, track=bar("epochs"))
    row = MetricsLog.read(run / LOG)[-1]
    typer.echo(f"{row['epoch']} of {settings.train.encoder.epochs} epochs on {device.type}; loss {row['loss']:.3f}")


@cli.command()
def train(
    cells: Annotated[Path, typer.Argument(help="directory that `cells` wrote")],
    run: Annotated[Path, typer.Argument(help="directory of the run; an unfinished run is resumed")],
    config: ConfigFile = Path("cpu"),
    seed: NewSeed = None,
    stop_after: Annotated[int | None, typer.Option(min=1, help="pause at this iteration; run again to go on")] = None,
    threads: Threads = None,
) -> None:
    """Train the GAN, on CUDA if there is a GPU, else on the CPU: checkpoint.pt, metrics.jsonl and samples/ in the run.

    If the labels of the tiles or [data] of the configuration have changed, run it again: the run takes them over.
    """
    settings = load_config(config, seed)
    found = _begin_run(settings, config, cells, run)

    from training.gan.loop import training_loop

    _set_threads(threads)
    device = _device()
    trainer = training_loop(settings.train, found.unlabelled, run, device, stop_after=stop_after, track=bar("steps"))
    typer.echo(f"{trainer.iteration} iterations on {device.type}; samples in {run / 'samples'}")


@cli.command()
def segmenter(
    tiles: Annotated[list[Path], typer.Argument(metavar="TILES…", help="directories of PNG, JPEG or TIFF tiles")],
    run: Annotated[Path, typer.Argument(help="directory of the run; an unfinished run is resumed")],
    config: ConfigFile = Path("cpu"),
    seed: NewSeed = None,
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="pause after this many steps; run again to go on")
    ] = None,
    threads: Threads = None,
) -> None:
    """Train the network that finds nuclei, on tiles without any annotation: it begins with what `default` finds.

    It writes checkpoint.pt, metrics.jsonl and pictures/ into the run, and at the end segmenter.onnx.
    """
    settings = load_segmenter_config(config, seed)
    from training.cells.tile_files import tile_paths

    folders = [tile_paths(folder) for folder in tiles]
    write_config(settings, run)

    from training.bundle.segmenter_export import MIN_AGREEMENT, export_segmenter
    from training.segmenter.lessons import load_tiles
    from training.segmenter.loop import segmenter_loop

    _set_threads(threads)
    device = _device()
    trainer = segmenter_loop(settings.segmenter, folders, run, device, stop_after=stop_after, track=bar)
    if trainer.is_finished:
        pixels = [tile.pixels for tile in load_tiles(run) or []]
        agreement = export_segmenter(trainer.average.cpu(), pixels, run)
        kept = "is in 8-bit integers" if agreement >= MIN_AGREEMENT else "stays in float32"
        typer.echo(f"In 8-bit integers it finds the same nuclei with a panoptic quality of {agreement:.3f}; it {kept}.")
    typer.echo(f"{trainer.iteration} steps in {trainer.round + 1} rounds on {device.type}; see {run / 'pictures'}")


@cli.command()
def fit(run: RunDir, threads: Threads = None) -> None:
    """Fit the label to the run's cells: to their tiles' labels, or without labels to simulated bags. Calibrate Q."""
    config, found, trainer = _open_run(run, threads)
    import torch

    from app.pipeline.crops import seen, to_network
    from training.bundle.outliers import fit_outliers
    from training.gan.calibrate_q import measure_calibration
    from training.gan.checks import assign_clusters
    from training.label.image_level import fit_image_level, write_image_level

    q = trainer.nets.ema_q
    crops, compressed = (seen(all_channels, config.train.crops) for all_channels in (found.crops, found.compressed))
    is_counted = ~fit_outliers(q, crops, found.tile_index, compressed).outlier
    clusters = assign_clusters(q, torch.from_numpy(to_network(crops[is_counted])))
    result = fit_image_level(found.only(is_counted), clusters, config.train.n_clusters, config.fit)
    result["q_calibration"] = measure_calibration(found, config.train, q, torch.device("cpu"), bar("folds"))
    write_image_level(result, run)
    typer.echo(json.dumps(result["metrics"] | {"q_calibration": result["q_calibration"]}, indent=2))


@cli.command()
def export(
    run: RunDir,
    out: Annotated[Path, typer.Argument(help="models/<name>; replaced if it exists")],
    bundle_version: Annotated[str, typer.Option(help="version of the bundle")] = "1",
    unfit: Annotated[bool, typer.Option("--unfit", help="write it even if it has not learned enough")] = False,
    threads: Threads = None,
) -> None:
    """Write the run as a bundle that the service loads; one that fails its self-test or its gates is not written."""
    config, found, trainer = _open_run(run, threads)
    from app.pipeline.crops import seen
    from training.bundle.export import FinishedRun, check_target, export_bundle
    from training.bundle.outliers import fit_outliers
    from training.gan.checks import check_model
    from training.label.image_level import read_image_level

    check_target(out)
    image_level = read_image_level(run)
    nets, crops = trainer.nets, seen(found.crops, config.train.crops)
    finished = FinishedRun(
        config=config,
        cells=found,
        generator=nets.ema_generator,
        q=nets.ema_q,
        iterations=trainer.iteration,
        checks=check_model(nets.ema_generator, nets.ema_q, crops),
        image_level=image_level,
        outliers=fit_outliers(nets.ema_q, crops, found.tile_index, seen(found.compressed, config.train.crops)),
        segmenter=run,
    )
    manifest = export_bundle(out, finished, bundle_version, unfit=unfit)
    typer.echo(f"{out}: {manifest.metrics.model_dump_json(indent=2)}")
    typer.echo(f"fast network: {manifest.fast.model_dump_json(indent=2) if manifest.fast else 'none'}")


@cli.command()
def refit(
    bundle: Annotated[Path, typer.Argument(help="models/<name>; its manifest is replaced")],
    cells: Annotated[
        Path, typer.Argument(help="directory that `cells` wrote, from the tiles of the bundle's training")
    ],
    bundle_version: Annotated[str, typer.Option(help="new version of the bundle")],
    keep_calibration: Annotated[
        bool,
        typer.Option("--keep-calibration", help="keep the bundle's calibration of Q, which takes minutes to measure"),
    ] = False,
) -> None:
    """Fit the label and the calibration of Q anew for a bundle; its networks stay, and no run is needed."""
    from training.bundle.refit import refit_bundle
    from training.cells.extract import Cells

    found = Cells.load(cells)
    manifest = refit_bundle(
        bundle, found, bundle_version, _device(), keep_calibration=keep_calibration, track=bar("folds")
    )
    typer.echo(f"{bundle}: {manifest.metrics.model_dump_json(indent=2)}")
    typer.echo(f"calibration of Q: {manifest.q_calibration.model_dump_json() if manifest.q_calibration else 'none'}")


@cli.command()
def report(
    results: Annotated[Path, typer.Argument(help="directory that `evaluate` wrote")] = Path("docs/results"),
    out: Annotated[Path, typer.Argument(help="document to write")] = Path("docs/results.md"),
    bundle: Annotated[Path, typer.Option(help="bundle to report on")] = Path("models/marrow"),
) -> None:
    """Write docs/results.md and its figures from what was measured."""
    from PIL import Image

    from app.pipeline.bundle.load import load_bundle
    from training.study.figures.prototypes import prototype_figure
    from training.study.report import SECTIONS, render

    paths = {name: results / f"{name}.json" for name in SECTIONS}
    paths |= {name: results.parent / file for name, file in BENCH.items()}
    measured = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}
    if not measured:
        raise DataError(f"{results} holds no results; make them with `python -m training evaluate`.")
    shipped = load_bundle(bundle)
    Image.fromarray(prototype_figure(shipped)).save(out.with_name("prototypes.png"))
    write_text(out, render(measured, shipped.manifest))
    typer.echo(f"{out} and its figures written; reported: {', '.join(measured)}")


def _begin_run(settings: Config, config: Path, cells: Path, run: Path) -> Cells:
    """Check that the cells fit to the configuration and to what the run holds, put both into the run, return the cells.

    A run that has begun takes over new labels of the tiles, and then what was fitted to the old ones is removed.

    Args:
        settings: the configuration.
        config: where it comes from, for messages.
        cells: directory that `cells` wrote.
        run: directory of the run.
    """
    from training.cells.extract import CELLS, Cells, copy_segmenter

    found = Cells.load(cells)
    if found.segmentation.preset != settings.preset:
        raise DataError(
            f"The cells were cut with preset '{found.segmentation.preset}', but {config} is for '{settings.preset}'."
        )
    if found.mpp != settings.data.mpp:
        raise DataError(
            f"The cells were measured at {found.mpp} µm per pixel, but {config} says {settings.data.mpp}; give `cells` "
            "the same --mpp."
        )
    if (run / CELLS).is_file() and not found.same_cells(Cells.load(run)):
        raise DataError(f"{run} holds a run on other cells; choose another directory.")
    write_config(settings, run)
    found.save(run)
    if settings.preset == LEARNED.preset:
        copy_segmenter(cells, run)

    from training.label.image_level import remove_image_level

    remove_image_level(run)
    return found


def _open_run(run: Path, threads: int | None) -> tuple[Config, Cells, Trainer]:
    """Return the configuration and the cells of a run, and its networks on the CPU, for so many threads."""
    config = read_config(run)
    from training.cells.extract import Cells

    found = Cells.load(run)
    import torch

    from app.pipeline.crops import seen
    from training.gan.loop import restore_trainer

    _set_threads(threads)
    crops = seen(found.crops, config.train.crops)
    return config, found, restore_trainer(config.train, crops, run, torch.device("cpu"))


def _device() -> torch.device:
    """Return where to train: on CUDA if there is a GPU, else on the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _set_threads(threads: int | None) -> None:
    """Let PyTorch compute on so many CPU threads; with None it decides itself."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _find_labels(given: Path | None, tiles: Path, paths: list[Path]) -> TileLabels | None:
    """Return the labels in the given file, or in labels.csv beside the tiles; None if there is neither."""
    from training.cells.tile_labels import LABELS_CSV, read_labels

    path = given or tiles / LABELS_CSV
    return read_labels(path, paths) if given or path.exists() else None


def _describe(labels: TileLabels | None) -> str:
    """Return how many tiles have each label, for the last line of `cells`."""
    if labels is None:
        return "no labels.csv: `fit` will simulate abnormal tiles"
    patients = "" if labels.n_patients is None else f", of {labels.n_patients} patients"
    return ", ".join(f"{count} {name}" for name, count in labels.counts().items()) + patients


def main() -> None:
    """Run the command line; an error that the user can put right is one line and exit status 1."""
    write_any_text()
    try:
        cli()
    except (TrainingError, PipelineError, OSError) as error:
        named = [error.filename, error.strerror] if isinstance(error, OSError) and error.strerror else [error]
        typer.secho(": ".join(str(part) for part in (type(error).__name__, *named) if part), fg="red", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
