"""What `marrowscope batch` does: it turns its options into a batch, runs it, and shows how far it is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

import typer
from rich import progress as bars
from rich.console import Console

from app.answer.provenance import code_version
from app.batch.folder import BatchFolder, BatchManifest, BatchSlide
from app.batch.read.openslide_slide import is_dicom
from app.batch.run.engine import run_on_workers
from app.batch.run.resume import begin_or_resume
from app.batch.summary import read_summary
from app.cohort.patients import patients_of_slides
from app.cohort.regions import regions_in_folder
from app.cohort.sources import SlideSource, find_slides, readable
from app.cpus import usable_cpus
from app.jobs.progress import Progress, write_progress
from app.lock import lock_folder
from app.pipeline.bundle.load import Bundle
from app.pipeline.headers.inputs import FrameName, check_mpp
from app.pipeline.measure.table import check_measurement
from app.pipeline.networks.backend import Precision
from app.settings import Settings
from app.shell.options import open_bundle, usage_errors

SHOWN = 3
"""The number of names that a warning shows."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The arguments and options of the command.

    Attributes:
        sources: files, folders and patterns.
        out: the folder of the batch.
        regions: GeoJSON for the only slide, or a folder with a file for each slide; None for whole slides.
        nuclei: GeoJSON for the only slide, or a folder with a file for each slide; None to seek nuclei.
        patients: a CSV file with the columns slide and patient; None if there is none.
        mpp: µm per px of all slides; None takes what each file says.
        frame: what coordinates count from, where the file of a slide states bounds.
        bundle: the name of the bundle; None for the default one.
        precision: the precision of the network that sorts the cells.
        workers: the number of processes on this machine; None for one per core that may be used.
        scheduler: the address of a Dask scheduler; None for this machine.
        gzip: whether to compress GeoJSON.
        map: the measurement whose mean over each slide is drawn; None for none.
        anndata: whether to write the cells as AnnData, too.
        dicom_annotations: whether to write the outlines of DICOM slides as DICOM annotations, too.
    """

    sources: Sequence[str]
    out: Path
    regions: Path | None
    nuclei: Path | None
    patients: Path | None
    mpp: float | None
    frame: FrameName
    bundle: str | None
    precision: Precision
    workers: int | None
    scheduler: str | None
    gzip: bool
    map: str | None
    anndata: bool = False
    dicom_annotations: bool = False


def run_batch(options: BatchOptions, settings: Settings) -> bool:
    """Run a batch, or what is missing of it.

    Args:
        options: the options of the command.
        settings: the folders of the bundles, and the largest PNG or JPEG.

    Returns:
        Whether every slide has results.

    Raises:
        typer.BadParameter: the options make no sense, and nothing was done.
        PipelineError: the bundle, the folder or the scheduler cannot be used.
        OSError: a file cannot be read or written.
    """
    folder = BatchFolder(options.out.resolve())
    with usage_errors():
        check_mpp(options.mpp)
        check_measurement(options.map)
        slides = [source for source in find_slides(options.sources) if folder.path not in source.path.parents]
    if not slides:
        raise typer.BadParameter(f"there is no slide outside {options.out}, the folder for the results.")
    if options.dicom_annotations:
        _check_formats(slides)
    bundle = open_bundle(settings, options.bundle)
    batch = _manifest(options, slides, bundle, settings)
    with lock_folder(folder.path):
        begin_or_resume(folder, batch)
        with _ended_by_sigterm(), _progress_bar() as bar:
            workers, patience_s = options.workers or usable_cpus(), settings.scheduler_patience_s
            progress = run_on_workers(options.scheduler, workers, folder, batch, bar, patience_s)
        # The library of the plot takes half a second to import, and the workers need not wait for it.
        from app.batch.write.cohort import write_cohort

        write_cohort(folder, batch, bundle, {failure.slide: failure.reason for failure in progress.failures})
        write_progress(folder.path, progress, "finished")
    _print_outcome(folder, batch, progress)
    return not progress.failures


def _check_formats(slides: Sequence[SlideSource]) -> None:
    """Say which slides get no DICOM annotations, because these can only refer to DICOM."""
    others = [readable(str(source.named)) for source in slides if not is_dicom(source.path)]
    if len(others) == len(slides):
        raise typer.BadParameter("--dicom-annotations is for DICOM slides, and no slide is one.")
    if others:
        gets = "1 slide is not DICOM and gets" if len(others) == 1 else f"{len(others)} slides are not DICOM and get"
        shown = ", ".join(others[:SHOWN]) + (", …" if len(others) > SHOWN else "")
        typer.echo(f"Warning: {gets} no annotations.dcm: {shown}", err=True)


def _manifest(
    options: BatchOptions, slides: Sequence[SlideSource], bundle: Bundle, settings: Settings
) -> BatchManifest:
    with usage_errors():
        patients, doubts = patients_of_slides(options.patients, slides) if options.patients else ({}, [])
        regions, unused = _files(options.regions, slides, "regions")
        nuclei, without_slide = _files(options.nuclei, slides, "nuclei")
    for warning in [*doubts, *unused, *without_slide]:
        typer.echo(f"Warning: {warning}", err=True)
    return BatchManifest(
        bundle=bundle.manifest.name,
        bundle_sha256=bundle.sha256,
        bundles_dir=str(bundle.directory.parent.resolve()),
        code_version=code_version(),
        precision=options.precision if options.precision in bundle.backend.precisions else "full",
        mpp=options.mpp,
        frame=options.frame,
        max_pixels=settings.max_pixels,
        gzip=options.gzip,
        map=options.map,
        anndata=options.anndata,
        dicom_annotations=options.dicom_annotations,
        slides=tuple(
            BatchSlide(
                slide=source.slide,
                path=readable(str(source.path)),
                refused=_name_refusal(source.path),
                regions=regions.get(source.slide),
                nuclei=nuclei.get(source.slide),
                patient=patients.get(source.slide),
            )
            for source in slides
        ),
    )


def _files(given: Path | None, slides: Sequence[SlideSource], kind: str) -> tuple[dict[str, str], list[str]]:
    """Return for the id of each slide its file of regions or nuclei, and warnings about files that belong to no slide.

    Args:
        given: the file of the only slide, or a folder; None if there is none.
        slides: the slides.
        kind: what the files hold, for messages.
    """
    if given is None:
        return {}, []
    if not given.exists():
        raise typer.BadParameter(f"there are no {kind} at {given}.")
    resolved = given.resolve()
    if readable(str(resolved)) != str(resolved):
        raise typer.BadParameter(f"the path {readable(str(resolved))} holds bytes that are not UTF-8; rename it.")
    if given.is_dir():
        found, warnings = regions_in_folder(resolved, slides, kind)
        return {slide: readable(str(path)) for slide, path in found.items()}, warnings
    if len(slides) > 1:
        raise typer.BadParameter(
            f"{given} is one file for {len(slides)} slides; name a folder with a GeoJSON file for each."
        )
    return {slides[0].slide: str(resolved)}, []


def _name_refusal(path: Path) -> str | None:
    """Return why a slide cannot be analysed because of its name; None if it can."""
    if readable(str(path)) == str(path):
        return None
    return "Its path holds bytes that are not UTF-8, shown here as escapes: rename the file or its folder."


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that workers are stopped and no unfinished file stays."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Bar:
    """Shows tiles and slides in a progress bar; it is called with the progress of the batch."""

    def __init__(self, bar: bars.Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)
        self._waiting_since: datetime | None = None

    def __call__(self, progress: Progress) -> None:
        """Show the progress."""
        failed = f", {progress.slides_failed} failed" if progress.slides_failed else ""
        text = f"tiles; {progress.slides_done} of {progress.slides} slides{failed}"
        if progress.waiting_since and progress.waiting_since != self._waiting_since:
            self._bar.console.out(
                f"Waiting for the Dask scheduler and its workers since {progress.waiting_since:%H:%M:%S} UTC"
            )
        self._waiting_since = progress.waiting_since
        self._bar.update(self._task, completed=progress.tiles_done, total=progress.tiles or None, description=text)


@contextmanager
def _progress_bar() -> Iterator[_Bar]:
    """Show a progress bar while the block runs, if stderr is a terminal."""
    with bars.Progress(
        bars.BarColumn(bar_width=20),
        bars.MofNCompleteColumn(separator=" of "),
        bars.TextColumn("{task.description}", markup=False),
        bars.TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        yield _Bar(bar)


def _print_outcome(folder: BatchFolder, batch: BatchManifest, progress: Progress) -> None:
    """Print what is no region, and each change and failure with its reason, to stderr; the report's path to stdout."""
    failed = {failure.slide for failure in progress.failures}
    for source in batch.slides:
        skipped = () if source.slide in failed else read_summary(folder.summary(source.slide)).regions_skipped
        for sentence in skipped:
            typer.echo(f"{source.path}: {sentence}", err=True)
    paths = {source.slide: source.path for source in batch.slides}
    for change in progress.changes:
        typer.echo(f"{paths[change.slide]}: {change.reason}", err=True)
    for failure in progress.failures:
        typer.echo(f"{paths[failure.slide]}: {failure.reason}", err=True)
    noun = "slide" if progress.slides == 1 else "slides"
    typer.echo(f"{progress.slides_done} of {progress.slides} {noun} done, {progress.slides_failed} failed", err=True)
    typer.echo(os.fsencode(folder.path / "index.html"))
