"""`marrowscope batch`: its arguments, options and help."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from app.pipeline.headers.inputs import FrameName
from app.shell.options import BundleOption, PrecisionOption, needs_extra, read_settings, report_errors

HELP = """Analyse whole slides and cohorts, on all cores of this machine or on a
cluster.

SRC is a slide (SVS, NDPI, MRXS, DICOM, pyramidal or plain TIFF), a tile,
a folder of them, or a pattern. Each slide gets a folder of results: its
cells as Parquet and as GeoJSON for QuPath, its proportions with
intervals, distances between clusters, islands, density maps and a report.
The slides together get a table, a plot and index.html.

Examples:
  marrowscope batch slides --out results
  marrowscope batch s1.svs --out results --regions s1.geojson
  marrowscope batch "study/*.tif" --out results --patients patients.csv
  marrowscope batch slides --out results --scheduler tcp://10.0.0.5:8786

You can stop the command at any time. Give it again, and it does only what
is missing; the results are the same to the byte. A slide that cannot be
analysed is reported with its reason, and the other slides go on.

Exit status: 0 if every slide has results, 1 if a slide failed or the
batch cannot be run, 2 if the command itself is wrong, and 75 if the
scheduler or its workers were away for longer than an hour
(MARROWSCOPE_SCHEDULER_PATIENCE_S): give the command again then.
"""
Sources = Annotated[
    list[str],
    typer.Argument(metavar="SRC", help="Slides, tiles, folders of them, or patterns.", show_default=False),
]
OutFolder = Annotated[Path, typer.Option(file_okay=False, help="Folder for the results.", show_default=False)]
Regions = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        help="Analyse only these regions: GeoJSON of annotations from QuPath, or a folder with SLIDE.geojson for each "
        "slide.",
        show_default=False,
    ),
]
Nuclei = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        help="Nuclei to take instead of seeking them: GeoJSON in pixels of the full resolution, as QuPath exports it; "
        "or a folder with SLIDE.geojson for each slide.",
        show_default=False,
    ),
]
Patients = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="Table (CSV) with the columns slide and patient.", show_default=False
    ),
]
SlideMpp = Annotated[
    float | None,
    typer.Option(help="µm per pixel of all slides, from 0.05 to 4. Default: what each file says.", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        help="Number of processes on this machine. Default: one per core that may be used.",
        show_default=False,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Use the workers of the Dask scheduler at this address; wait for them while they are away.",
        show_default=False,
    ),
]
FrameOption = Annotated[
    FrameName,
    typer.Option(
        help="What coordinates count from, also those of --regions and --nuclei: bounds is the scanned part, as QuPath "
        "shows it; canvas is the whole plane of the file."
    ),
]
Map = Annotated[
    str | None,
    typer.Option(
        "--map",
        metavar="MEASUREMENT",
        help="Draw a map of the mean of this measurement over each slide, such as area or chromatin_contrast.",
        show_default=False,
    ),
]
Gzip = Annotated[bool, typer.Option("--gzip", help="Compress the GeoJSON files.")]
AnnData = Annotated[
    bool,
    typer.Option(
        "--anndata", help="Write the cells of each slide as AnnData (cells.h5ad) for scanpy and squidpy, too."
    ),
]
DicomAnnotations = Annotated[
    bool,
    typer.Option(
        "--dicom-annotations",
        help="Write the outlines of each DICOM slide as DICOM annotations (annotations.dcm), too.",
    ),
]


def batch(
    sources: Sources,
    out: OutFolder,
    regions: Regions = None,
    patients: Patients = None,
    mpp: SlideMpp = None,
    frame: FrameOption = "bounds",
    bundle: BundleOption = None,
    precision: PrecisionOption = "fast",
    workers: Workers = None,
    scheduler: Scheduler = None,
    gzip: Gzip = False,
    nuclei: Nuclei = None,
    map_of: Map = None,
    anndata: AnnData = False,
    dicom_annotations: DicomAnnotations = False,
) -> None:
    """Analyse whole slides and cohorts."""
    with report_errors(), needs_extra("batch"):
        from app.batch.run.cluster import SchedulerLost
        from app.jobs.command import TRY_AGAIN
        from app.shell.batch_run import BatchOptions, run_batch

        # What is missing is said before an hour of work is done. The workers import it when they need it.
        if anndata:
            with needs_extra("anndata"):
                import_module("anndata")
        if dicom_annotations:
            with needs_extra("dicom"):
                import_module("highdicom")
        options = BatchOptions(
            sources=sources,
            out=out,
            regions=regions,
            nuclei=nuclei,
            patients=patients,
            mpp=mpp,
            frame=frame,
            bundle=bundle,
            precision=precision,
            workers=workers,
            scheduler=scheduler,
            gzip=gzip,
            map=map_of,
            anndata=anndata,
            dicom_annotations=dicom_annotations,
        )
        try:
            is_complete = run_batch(options, read_settings())
        except SchedulerLost as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(TRY_AGAIN) from error
    if not is_complete:
        raise typer.Exit(1)
