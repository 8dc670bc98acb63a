"""The outlines of a DICOM slide's cells for DICOM viewers and archives: Microscopy Bulk Simple Annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from highdicom import AlgorithmIdentificationSequence
from highdicom.ann import AnnotationGroup, Measurements, MicroscopyBulkSimpleAnnotations
from highdicom.color import CIELabColor
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from app.answer.palette import NO_TYPE, OUTLIER, Color, cluster_color, type_colors
from app.answer.schemas import NOTICE
from app.batch.read.openslide_slide import dicom_file
from app.batch.read.slide import SlideError
from app.batch.summary import Frame, SlideSummary
from app.files import whole_file
from app.pipeline.manifest import Manifest
from app.pipeline.types import BoolArray, Float32Array, Int64Array

HEADER = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
"""Attributes that every image should have, empty where nothing is known; some converters leave them out."""
COLUMNS = ("geometry", "cluster", "outlier", "area_um2")
DATE, TIME = "19700101", "000000"
"""What stands where the slide states no date: the same cells give the same bytes."""
SERIES_NUMBER = 1000
"""Archives number series from 1; this one is not among those of the scanner."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Cells that are one annotation group: a cluster, a type, the outliers, or the cells without a type."""

    label: str
    color: Color
    rows: Int64Array


def write_annotations(cells: Path, slide: Path, target: Path, summary: SlideSummary, manifest: Manifest) -> bool:
    """Write the outlines of all cells, one group for each cluster, or type where the bundle knows types.

    Coordinates are px of the total pixel matrix of level 0. The top left corner of its first pixel is 0, 0, and the
    bottom right corner of that pixel 1, 1 (PS3.3, C.37.1.2 and C.10.5), as in the GeoJSON, so nothing is shifted by
    half a pixel. A polygon of DICOM has no holes. All outlines of the slide are in memory, about 1 kB for each cell.

    Args:
        cells: the path of cells.parquet.
        slide: a file of the slide, or its folder.
        target: the path of the new file.
        summary: the summary of the slide.
        manifest: that of the bundle.

    Returns:
        Whether there is a file: without a cell there is none, because DICOM wants at least one group.

    Raises:
        SlideError: no file of the slide holds its level 0.
        OSError: a file cannot be read or written.
    """
    columns = [*COLUMNS, *(["type"] if manifest.cell_classifier else [])]
    table = pq.read_table(cells, columns=columns)
    outlines = shapely.from_wkb(table["geometry"].to_numpy())
    offset = np.array([summary.frame.x, summary.frame.y])
    image = level_0(slide, summary.frame)
    groups = [
        _annotation_group(number, group, outlines, offset, table, summary)
        for number, group in enumerate(_groups(table, manifest), 1)
    ]
    if not groups:
        return False
    dataset = MicroscopyBulkSimpleAnnotations(
        source_images=[image],
        annotation_coordinate_type="2D",
        annotation_groups=groups,
        series_instance_uid=_uid(summary, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=_uid(summary, "instance"),
        instance_number=1,
        manufacturer="Marrowscope",
        manufacturer_model_name="marrowscope batch",
        software_versions=summary.code_version[:64],
        device_serial_number="0",
        content_label="NUCLEI",
        content_description=NOTICE[:64],
    )
    # Empty, as everything that may be needed and is not known: whether the part of the body is paired is not.
    dataset.Laterality = image.get("Laterality")
    # The library writes the time of day.
    for name in ("InstanceCreation", "Content"):
        setattr(dataset, f"{name}Date", image.StudyDate or DATE)
        setattr(dataset, f"{name}Time", image.StudyTime or TIME)
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        equipment.pop("ContributionDateTime", None)
    with whole_file(target) as temporary:
        dataset.save_as(temporary)
    return True


def level_0(slide: Path, frame: Frame) -> Dataset:
    """Return the header of the file that holds the full resolution; the file that was named may hold another level.

    Args:
        slide: a file of the slide, or its folder.
        frame: that of the slide, whose canvas is level 0.

    Raises:
        SlideError: no file of the slide holds its level 0.
        OSError: a file cannot be read.
    """
    named = dicom_file(slide) if slide.is_dir() else slide
    series = dcmread(named, stop_before_pixels=True).SeriesInstanceUID
    size = (frame.canvas_width, frame.canvas_height)
    for header in _headers(named.parent):
        found = (header.get("TotalPixelMatrixColumns"), header.get("TotalPixelMatrixRows"))
        is_volume = "VOLUME" in header.get("ImageType", ())
        if is_volume and found == size and header.get("SeriesInstanceUID") == series:
            for name in HEADER:
                if name not in header:
                    setattr(header, name, None)
            # The library compares it between images; annotations in pixels do not use it.
            header.FrameOfReferenceUID = header.get("FrameOfReferenceUID", header.SeriesInstanceUID)
            return header
    raise SlideError(f"No DICOM file of it has {size[0]} x {size[1]} pixels, to which annotations could refer.")


def _headers(folder: Path) -> Iterator[Dataset]:
    for path in sorted(path for path in folder.glob("[!.]*") if path.is_file()):
        with suppress(InvalidDicomError):
            yield dcmread(path, stop_before_pixels=True)


def _groups(table: pa.Table, manifest: Manifest) -> Iterator[_Group]:
    """Yield the groups that have cells, classified as in the GeoJSON."""
    outlier, clusters = table["outlier"].to_numpy(), table["cluster"].to_numpy()
    wanted: list[tuple[str, Color, BoolArray]] = []
    colors: Mapping[str, Color] = type_colors(manifest)
    if colors:
        types = np.array(table["type"].to_pylist(), dtype=object)
        wanted += [(name, color, ~outlier & (types == name)) for name, color in colors.items()]
        wanted.append(("No type", NO_TYPE, ~outlier & ~np.isin(types.astype(str), list(colors))))
    else:
        named = manifest.cluster_names
        names = [(named.of(k) if named else None) or f"Cluster {k}" for k in range(manifest.n_clusters)]
        wanted += [(name, cluster_color(k), ~outlier & (clusters == k)) for k, name in enumerate(names)]
    wanted.append(("Outlier", OUTLIER, outlier))
    for label, color, members in wanted:
        if members.any():
            yield _Group(label, color, np.flatnonzero(members))


def _annotation_group(
    number: int,
    group: _Group,
    outlines: Sequence[shapely.Polygon],
    offset: Int64Array,
    table: pa.Table,
    summary: SlideSummary,
) -> AnnotationGroup:
    areas = []
    if summary.mpp is not None:
        square_micrometres = Code("um2", "UCUM", "square micrometer")
        values = table["area_um2"].to_numpy()[group.rows]
        areas = [Measurements(name=codes.SCT.Area, values=values, unit=square_micrometres)]
    used = summary.bundle
    return AnnotationGroup(
        number=number,
        uid=_uid(summary, f"group/{group.label}"),
        label=group.label[:64],
        annotated_property_category=Code("91723000", "SCT", "Anatomical Structure"),
        annotated_property_type=Code("84640000", "SCT", "Nucleus"),
        graphic_type="POLYGON",
        graphic_data=[_ring(outlines[row], offset) for row in group.rows],
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name="Marrowscope",
            family=codes.DCM.ArtificialIntelligence,
            version=summary.code_version[:64],
            parameters={"bundle": f"{used.name} {used.version}", "bundle_sha256": used.sha256},
        ),
        measurements=areas,
        display_color=CIELabColor.from_rgb(*group.color),
    )


def _ring(outline: shapely.Polygon, offset: Int64Array) -> Float32Array:
    """Return the corners of an outline without the last one, which repeats the first: DICOM closes polygons itself."""
    corners: Float32Array = (shapely.get_coordinates(outline.exterior)[:-1] + offset).astype(np.float32)
    return corners


def _uid(summary: SlideSummary, part: str) -> str:
    """Return a UID that is the same for the same inputs (PS3.5, B.2: 2.25 and 128 bits)."""
    digest = hashlib.sha256(f"{summary.inputs.sha256}/{part}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16])}"
