"""Slides and tiles on disk → a folder of results: what `marrowscope batch` does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import typer
from dask.system import CPU_COUNT
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.answer.provenance import code_version
from app.batch.folder import Run, RunFolder, SlideEntry
from app.batch.plan.patients import PatientsError, patient_of, read_patients
from app.batch.run import engine
from app.batch.run.cluster import connected
from app.lock import lock_folder
from app.pipeline.bundle.load import Bundle
from app.pipeline.errors import InvalidParameter
from app.pipeline.inputs import check_mpp
from app.pipeline.networks.backend import Precision
from app.settings import Settings
from app.shell.options import open_bundle
from app.shell.sources import Found, find_slides


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked on the command line.

    Attributes:
        sources: files, folders and patterns.
        out: folder of the run.
        regions: GeoJSON of the one slide, or a folder with one for each.
        patients: CSV with the columns slide and patient.
        mpp: µm per px of the slides that do not say theirs.
        bundle: None for the default one.
        precision: of Q.
        workers: processes on this machine; None for one per core.
        scheduler: address of a Dask scheduler; None for this machine.
        gzip: whether to compress GeoJSON.
    """

    sources: Sequence[str]
    out: Path
    regions: Path | None
    patients: Path | None
    mpp: float | None
    bundle: str | None
    precision: Precision
    workers: int | None
    scheduler: str | None
    gzip: bool


def run_batch(wanted: Wanted, settings: Settings) -> bool:
    """Do a run, or what is missing of it.

    Args:
        wanted: what was asked.
        settings: where the bundles are, and the largest PNG or JPEG.

    Returns:
        Whether every slide has results.

    Raises:
        typer.BadParameter: it makes no sense, and nothing was done.
        PipelineError: the bundle, the folder or the scheduler cannot be used.
        OSError: a file cannot be read or written.
    """
    try:
        check_mpp(wanted.mpp)
    except InvalidParameter as error:
        raise typer.BadParameter(str(error)) from error
    at = RunFolder(wanted.out.resolve())
    slides = [found for found in find_slides(wanted.sources) if at.path not in found.path.parents]
    if not slides:
        raise typer.BadParameter(f"there is no slide but what lies in {wanted.out}.")
    bundle = open_bundle(settings, wanted.bundle)
    run = _run(wanted, slides, bundle, settings)
    with lock_folder(at.path):
        at.begin(run)
        with (
            _stoppable(),
            connected(wanted.scheduler, wanted.workers or CPU_COUNT, at.path) as client,
            _shown(at, run) as shown,
        ):
            work = engine.Engine(client, at, run, shown)
            work.work()
        # What draws the plot takes half a second to import, which the workers need not wait for.
        from app.batch.write.cohort_results import write_cohort

        write_cohort(at, run, bundle, {failure.slide: failure.reason for failure in work.progress.failures})
        work.progress.write(at.path, "finished")
    _tell(at, run, work.progress)
    return not work.progress.failures


def _run(wanted: Wanted, slides: Sequence[Found], bundle: Bundle, settings: Settings) -> Run:
    patients = _patients(wanted.patients)
    regions = _regions(wanted.regions, slides)
    return Run(
        bundle=bundle.manifest.name,
        bundle_sha256=bundle.sha256,
        bundles_dir=str(settings.bundles_dir.resolve()),
        code_version=code_version(),
        precision=wanted.precision,
        mpp=wanted.mpp,
        max_pixels=settings.max_pixels,
        gzip=wanted.gzip,
        slides=tuple(
            SlideEntry(
                slide=found.slide,
                path=str(found.path),
                regions=regions,
                patient=patient_of(patients, found.slide, found.path.name),
            )
            for found in slides
        ),
    )


def _regions(regions: Path | None, slides: Sequence[Found]) -> str | None:
    if regions is None:
        return None
    if not regions.exists():
        raise typer.BadParameter(f"there are no regions at {regions}.")
    if regions.is_file() and len(slides) > 1:
        raise typer.BadParameter(
            f"{regions} is one file for {len(slides)} slides; name a folder with a GeoJSON file for each."
        )
    return str(regions.resolve())


def _patients(table: Path | None) -> dict[str, str]:
    try:
        return read_patients(table) if table else {}
    except PatientsError as error:
        raise typer.BadParameter(str(error)) from error


@contextmanager
def _stoppable() -> Iterator[None]:
    """End as on Ctrl-C when told to by a signal: workers are stopped, and nothing half-written stays."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Bar:
    """A bar on a terminal, nothing elsewhere: tiles, and slides."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def __call__(self, done: engine.Progress) -> None:
        """Show how far the run is."""
        failed = f", {len(done.failures)} failed" if done.failures else ""
        text = f"tiles; {done.slides_done} of {done.slides} slides{failed}"
        self._progress.update(self._task, completed=done.tiles_done, total=done.tiles or None, description=text)


@contextmanager
def _shown(at: RunFolder, run: Run) -> Iterator[_Bar]:
    with Progress(
        BarColumn(bar_width=20),
        MofNCompleteColumn(separator=" of "),
        TextColumn("{task.description}", markup=False),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        disable=not sys.stderr.isatty(),
    ) as progress:
        yield _Bar(progress)


def _tell(at: RunFolder, run: Run, done: engine.Progress) -> None:
    """Failures, each with its reason, and where the results are."""
    paths = {entry.slide: entry.path for entry in run.slides}
    for failure in done.failures:
        typer.echo(f"{paths[failure.slide]}: {failure.reason}", err=True)
    noun = "slide" if done.slides == 1 else "slides"
    typer.echo(f"{done.slides_done} of {done.slides} {noun} done, {len(done.failures)} failed", err=True)
    typer.echo(os.fsencode(at.path / "index.html"))
