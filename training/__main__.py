"""`python -m training`: cells · labelled · train · fit · evaluate · export · report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image
from safetensors import SafetensorError

from app.pipeline.bundle.load import load_bundle
from app.pipeline.crops import to_network
from app.pipeline.errors import PipelineError
from app.pipeline.presets import PRESETS, Engine
from training.bundle.export import ExportError, FinishedRun, export_bundle
from training.bundle.outliers import fit_outliers
from training.cells import extract as data
from training.cells.labelled import LABELLED, cut_labelled
from training.cells.quality_reference import TilesError
from training.cells.tile_labels import LABELS_CSV, LabelsError, TileLabels, read_labels
from training.config import Config, ConfigError, load_config, read_config, write_config
from training.console import bar, write_text
from training.gan.checkpoint import CheckpointError
from training.gan.checks import assign, check_model
from training.gan.loop import DivergedError, restore_trainer, training_loop
from training.gan.trainer import Trainer
from training.label import image_level
from training.study.commands import evaluate
from training.study.report import SECTIONS, prototype_figure, render

EXPECTED = (
    CheckpointError,
    ConfigError,
    data.DataError,
    DivergedError,
    ExportError,
    LabelsError,
    OSError,
    PipelineError,
    SafetensorError,
    TilesError,
)

BENCH = {"speed": "bench.json", "slides": "slides.json"}
"""What `make bench` and `python -m bench.slides` wrote, beside the results of `evaluate`."""

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Offline: tiles → cells → GAN → image-level model → bundle.",
)
cli.add_typer(evaluate, name="evaluate")
RunDir = Annotated[Path, typer.Argument(help="directory of a run, as `train` made it")]


@cli.command()
def cells(
    tiles: Annotated[Path, typer.Argument(help="directory of PNG, JPEG or TIFF tiles")],
    out: Annotated[Path, typer.Argument(help="directory to write cells.npz into")],
    preset: Annotated[str, typer.Option(help=f"segmentation preset: {', '.join(PRESETS)}")] = "default",
    engine: Annotated[Engine, typer.Option(help="who computes the stains; the bundle will use the same")] = "native",
    labels: Annotated[
        Path | None, typer.Option(help=f"tile,label[,patient] of each tile  [default: TILES/{LABELS_CSV}, if there]")
    ] = None,
) -> None:
    """Cut the cells out of every tile, with the pipeline that serves; the labels of the tiles go with them."""
    if preset not in PRESETS:
        raise ConfigError(f"There is no preset '{preset}'; the presets are: {', '.join(PRESETS)}.")
    params = PRESETS[preset].model_copy(update={"engine": engine})
    paths = data.tile_paths(tiles)
    known = _find_labels(labels, tiles, paths)
    found = data.extract_cells(paths, params, bar("tiles"), known)
    found.save(out)
    if found.empty_tiles:
        typer.echo(f"Left out, since no cell was found in them: {', '.join(found.empty_tiles)}", err=True)
    typer.echo(f"{len(found)} cells of {len(found.tiles)} tiles in {out / data.CELLS}; {_said_of(known)}")


@cli.command()
def labelled(
    directory: Annotated[Path, typer.Argument(metavar="DATA", help="the data set crchisto or consep")],
    out: Annotated[Path, typer.Argument(help=f"directory to write {LABELLED} into")],
) -> None:
    """Cut the typed cells of crchisto or consep, to score clusters with."""
    found = cut_labelled(directory, bar("tiles"))
    found.save(out)
    typer.echo(f"{len(found.types)} typed cells of {len(found.tiles)} tiles in {out / LABELLED}")


@cli.command()
def train(
    cells: Annotated[Path, typer.Argument(help="directory that `cells` wrote")],
    run: Annotated[Path, typer.Argument(help="directory of the run; an unfinished run is resumed")],
    config: Annotated[Path, typer.Option(help="full, cpu, smoke, or a TOML file")] = Path("cpu"),
    seed: Annotated[int | None, typer.Option(help="replaces the configuration's seed")] = None,
    stop_after: Annotated[int | None, typer.Option(min=1, help="pause at this iteration; run again to go on")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: one per core")] = None,
) -> None:
    """Train the GAN on CUDA, or else on the CPU: checkpoint.pt, metrics.jsonl and samples/ in the run.

    Run again after a change of the labels or of the configuration's [data], it takes them over.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    settings = load_config(config, seed)
    found = data.Cells.load(cells)
    if found.segmentation.preset != settings.preset:
        raise data.DataError(
            f"The cells were cut with preset '{found.segmentation.preset}', but {config} is for '{settings.preset}'."
        )
    if (run / data.CELLS).is_file() and not found.are_those_of(data.Cells.load(run)):
        raise data.DataError(f"{run} holds a run on other cells; choose another directory.")
    write_config(settings, run)
    found.save(run)
    image_level.forget(run)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = training_loop(settings.train, found.crops, run, device, stop_after=stop_after, track=bar("iterations"))
    typer.echo(f"{trainer.iteration} iterations on {device.type}; samples in {run / 'samples'}")


@cli.command()
def fit(run: RunDir) -> None:
    """Fit the image-level model on the run's cells and labels, on simulated bags without these: image_level.json."""
    config, found, trainer = _open(run)
    critic = trainer.nets.mean_critic
    counted = found.only(~fit_outliers(critic, found.crops, found.tile_index).outlier)
    clusters = assign(critic, torch.from_numpy(to_network(counted.crops)))
    result = image_level.fit_image_level(counted, clusters, config.train.n_clusters, config.fit)
    image_level.keep(result, run)
    typer.echo(json.dumps(result["metrics"], indent=2))


@cli.command()
def export(
    run: RunDir,
    out: Annotated[Path, typer.Argument(help="models/<name>; replaced when it exists")],
    bundle_version: Annotated[str, typer.Option(help="version of the bundle")] = "1",
    unfit: Annotated[bool, typer.Option("--unfit", help="write it even if it has not learned enough")] = False,
) -> None:
    """Write the run as a bundle that the service loads; one that fails its self-test or its gates is not written."""
    config, found, trainer = _open(run)
    nets = trainer.nets
    finished = FinishedRun(
        config=config,
        cells=found,
        generator=nets.mean_generator,
        critic=nets.mean_critic,
        iterations=trainer.iteration,
        checks=check_model(nets.mean_generator, nets.mean_critic, found.crops),
        image_level=image_level.read(run),
        outliers=fit_outliers(nets.mean_critic, found.crops, found.tile_index),
    )
    manifest = export_bundle(out, finished, bundle_version, unfit=unfit)
    typer.echo(f"{out}: {manifest.metrics.model_dump_json(indent=2)}")
    typer.echo(f"fast network: {manifest.fast.model_dump_json(indent=2) if manifest.fast else 'none'}")


@cli.command()
def report(
    results: Annotated[Path, typer.Argument(help="directory that `evaluate` wrote")] = Path("docs/results"),
    out: Annotated[Path, typer.Argument(help="document to write")] = Path("docs/results.md"),
    bundle: Annotated[Path, typer.Option(help="bundle to report on")] = Path("models/marrow"),
) -> None:
    """Write docs/results.md and its figures from what was measured."""
    paths = {name: results / f"{name}.json" for name in SECTIONS}
    paths |= {name: results.parent / file for name, file in BENCH.items()}
    measured = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}
    if not measured:
        raise data.DataError(f"{results} holds no results; make them with `python -m training evaluate`.")
    shipped = load_bundle(bundle)
    Image.fromarray(prototype_figure(shipped)).save(out.with_name("prototypes.png"))
    write_text(out, render(measured, shipped.manifest))
    typer.echo(f"{out} and its figures written; reported: {', '.join(measured)}")


def _open(run: Path) -> tuple[Config, data.Cells, Trainer]:
    """A run with its networks, on the CPU."""
    config = read_config(run)
    found = data.Cells.load(run)
    return config, found, restore_trainer(config.train, found.crops, run, torch.device("cpu"))


def _find_labels(given: Path | None, tiles: Path, paths: list[Path]) -> TileLabels | None:
    """The labels that were named, or those beside the tiles."""
    path = given or tiles / LABELS_CSV
    return read_labels(path, paths) if given or path.exists() else None


def _said_of(labels: TileLabels | None) -> str:
    if labels is None:
        return f"no {LABELS_CSV}: `fit` will simulate abnormal tiles"
    patients = "" if labels.n_patients is None else f", of {labels.n_patients} patients"
    return ", ".join(f"{count} {name}" for name, count in labels.counts().items()) + patients


def main() -> None:
    """Entry point: an expected error is one line and exit status 1."""
    try:
        cli()
    except EXPECTED as error:
        named = [error.filename, error.strerror] if isinstance(error, OSError) and error.strerror else [error]
        typer.secho(": ".join(str(part) for part in (type(error).__name__, *named) if part), fg="red", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
