"""`marrowscope batch`: what is asked on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.shell.options import BundleOption, PrecisionOption, needs_extra, read_settings, report_errors

HELP = """Analyse whole slides and cohorts, on all cores or on a cluster.

SRC is a slide (SVS, NDPI, MRXS, DICOM, pyramidal or plain TIFF), a tile,
a folder of them, or a pattern. Each slide gets a folder of results: its
cells as Parquet and as GeoJSON for QuPath, proportions with intervals,
where the cells of each cluster lie, density maps and a report. All
together get one table, a plot and index.html.

Examples:
  marrowscope batch slides --out results
  marrowscope batch s1.svs --out results --regions s1.geojson
  marrowscope batch "study/*.tif" --out results --patients patients.csv
  marrowscope batch slides --out results --scheduler tcp://10.0.0.5:8786

Stop it at any point and give the same command again: only what is missing
is done, and the results are the same to the byte. A slide that cannot be
read is named with its reason, and the others go on; the exit status is
then 1. It is 2 where nothing was begun, and 75 where the scheduler went
away: give the same command again when it is back.
"""
Sources = Annotated[
    list[str], typer.Argument(metavar="SRC", help="Slides, tiles, folders or patterns.", show_default=False)
]
RunOut = Annotated[Path, typer.Option(file_okay=False, help="Folder of the run, for its results.", show_default=False)]
Regions = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        help="Only there: GeoJSON of annotations from QuPath; or a folder with SLIDE.geojson for each slide.",
        show_default=False,
    ),
]
Patients = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="CSV with the columns slide and patient.", show_default=False),
]
SlideMpp = Annotated[
    float | None,
    typer.Option(help="µm per pixel of slides whose files do not say it, 0.05 to 4.", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Processes on this machine. Default: one per core.", show_default=False),
]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Of a Dask scheduler whose workers are to do it.", show_default=False),
]
Gzip = Annotated[bool, typer.Option("--gzip", help="Compress GeoJSON.")]


def batch(
    sources: Sources,
    out: RunOut,
    regions: Regions = None,
    patients: Patients = None,
    mpp: SlideMpp = None,
    bundle: BundleOption = None,
    precision: PrecisionOption = "fast",
    workers: Workers = None,
    scheduler: Scheduler = None,
    gzip: Gzip = False,
) -> None:
    """Analyse whole slides and cohorts."""
    with report_errors(), needs_extra("batch"):
        from app.batch.run.engine import SchedulerLost
        from app.jobs.command import TRY_AGAIN
        from app.shell.batch_run import Wanted, run_batch

        wanted = Wanted(
            sources=sources,
            out=out,
            regions=regions,
            patients=patients,
            mpp=mpp,
            bundle=bundle,
            precision=precision,
            workers=workers,
            scheduler=scheduler,
            gzip=gzip,
        )
        try:
            is_complete = run_batch(wanted, read_settings())
        except SchedulerLost as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(TRY_AGAIN) from error
    if not is_complete:
        raise typer.Exit(1)
