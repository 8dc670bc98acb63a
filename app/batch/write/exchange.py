"""The cells of a slide in the formats of other programs, which a batch writes if it is asked to: AnnData and DICOM.

The packages of these formats are optional and take a second to import, so they are imported where they are needed.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.batch.folder import BatchManifest, BatchSlide
from app.batch.plan.tissue import Overview
from app.batch.read.openslide_slide import is_dicom
from app.batch.read.slide import Slide, SlideError
from app.batch.summary import SlideSummary
from app.batch.write.pictures import view_of
from app.pipeline.manifest import Manifest

ANNDATA, ANNOTATIONS = "cells.h5ad", "annotations.dcm"


def check_formats(slide: Slide, source: BatchSlide, batch: BatchManifest) -> None:
    """Make sure that the formats can be written, before a slide is analysed for an hour.

    Args:
        slide: the open slide.
        source: which slide of the batch it is.
        batch: what the batch is to do.

    Raises:
        SlideError: this worker lacks a package, or no DICOM file of the slide holds its full resolution.
        OSError: a file cannot be read.
    """
    with _packages():
        if batch.anndata:
            import app.batch.write.cell_anndata  # noqa: F401
        if batch.dicom_annotations and is_dicom(Path(source.path)):
            from app.batch.write.dicom_annotations import level_0

            level_0(Path(source.path), slide.frame)


def write_exchanged(
    cells: Path,
    slide: Slide,
    source: BatchSlide,
    summary: SlideSummary,
    overview: Overview,
    batch: BatchManifest,
    manifest: Manifest,
) -> list[str]:
    """Write the formats that the batch is to write beside the table of cells.

    Args:
        cells: the path of cells.parquet.
        slide: the open slide.
        source: which slide of the batch it is.
        summary: the summary of the slide.
        overview: the reduced picture of the slide.
        batch: what the batch is to do.
        manifest: that of the bundle.

    Returns:
        The names of the files.

    Raises:
        SlideError: this worker lacks a package, the slide is damaged, or no DICOM file of it holds its full resolution.
        OSError: a file cannot be read or written.
    """
    path, written = Path(source.path), []
    with _packages():
        if batch.anndata:
            from app.batch.write.cell_anndata import write_anndata

            write_anndata(cells, cells.with_name(ANNDATA), summary, manifest, *view_of(slide, overview))
            written.append(ANNDATA)
        if batch.dicom_annotations and is_dicom(path):
            from app.batch.write.dicom_annotations import write_annotations

            if write_annotations(cells, path, cells.with_name(ANNOTATIONS), summary, manifest):
                written.append(ANNOTATIONS)
    return written


@contextmanager
def _packages() -> Iterator[None]:
    """Say in words which package is missing: a worker on another machine may lack what the command found on its own."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SlideError(f"The package {error.name} is not installed on worker {platform.node()}.") from error
