"""The outlines of a DICOM slide as DICOM annotations, read back with highdicom."""

import json
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from app.batch.read.open import open_slide
from app.batch.read.slide import SlideError
from app.batch.summary import Frame, read_summary
from app.batch.write.exchange import check_formats
from app.pipeline.nuclei.measure import measure
from app.pipeline.nuclei.outlines import polygons
from tests.batch.one_slide import MAX_PIXELS, prepared, small_tiles
from tests.batch.read.dicom import write_dicom
from tests.batch.read.drawn_slides import drawn_pixels, write_striped

ann = pytest.importorskip("highdicom.ann")
write_annotations = pytest.importorskip("app.batch.write.dicom_annotations").write_annotations
ROUNDING_PX = 0.01


@pytest.fixture(scope="module")
def slide(tmp_path_factory, bundle):
    """A slide of two levels; the smaller one has the first name, and a file of another program lies beside them."""
    folder = tmp_path_factory.mktemp("dicom")
    pixels = np.tile(drawn_pixels(300, 250), (2, 2, 1))
    (folder / "slide").mkdir()
    write_dicom(folder / "slide" / "1.dcm", np.ascontiguousarray(pixels[::2, ::2]), mpp=0.5, instance=2)
    write_dicom(folder / "slide" / "2.dcm", pixels, mpp=0.25, instance=1)
    (folder / "slide" / "notes.dcm").write_bytes(b"no DICOM")
    with pytest.MonkeyPatch.context() as patch:
        small_tiles(patch)
        return prepared(folder / "run", folder / "slide" / "1.dcm", bundle, dicom_annotations=True).analyse()


@pytest.fixture(scope="module")
def written(slide):
    return slide.write()


@pytest.fixture(scope="module")
def annotations(written):
    return ann.annread(written / "annotations.dcm")


def cells_by_class(written):
    """Class → the outlines of its cells in the GeoJSON, without the corner that repeats the first, and their areas."""
    found = {}
    for feature in json.loads((written / "cells.geojson").read_bytes())["features"]:
        properties = feature["properties"]
        (ring,) = feature["geometry"]["coordinates"]
        name = properties["classification"]["name"] if "classification" in properties else "Outlier"
        found.setdefault(name, []).append((np.array(ring[:-1]), properties["measurements"]))
    return found


def test_each_cluster_is_a_group_with_the_outlines_of_the_geojson(written, annotations):
    groups = {group.label: group for group in annotations.get_annotation_groups()}
    expected = cells_by_class(written)
    assert groups.keys() == expected.keys()
    for name, cells in expected.items():
        polygons = groups[name].get_graphic_data(annotations.annotation_coordinate_type)
        assert len(polygons) == len(cells) > 0
        for polygon, (ring, _) in zip(polygons, cells, strict=True):
            np.testing.assert_allclose(polygon, ring, atol=ROUNDING_PX)
    assert len(expected) > 1


def test_groups_hold_the_areas_and_the_origin_of_the_cells(slide, written, annotations):
    group = annotations.get_annotation_groups()[0]
    names, values, units = group.get_measurements()
    assert ([name.meaning for name in names], [unit.value for unit in units]) == (["Area"], ["um2"])
    assert (values > 0).all()
    (used,) = group.AnnotationGroupAlgorithmIdentificationSequence
    assert slide.bundle.sha256 in used.AlgorithmParameters
    assert annotations.ContentDescription.startswith("For Research Use Only")


def test_annotations_refer_to_the_full_resolution_and_are_listed(written, annotations):
    (referred,) = annotations.ReferencedImageSequence
    assert referred.ReferencedSOPInstanceUID == "1.2.3.4.1"
    assert annotations.StudyInstanceUID == "1.2.3.5"
    assert annotations.SeriesInstanceUID != "1.2.3.4"
    assert annotations.AnnotationCoordinateType == "2D"
    size = (written / "annotations.dcm").stat().st_size
    assert read_summary(written / "summary.json").files["annotations.dcm"] == size


def test_same_cells_are_the_same_bytes(slide, written):
    before = (written / "annotations.dcm").read_bytes()
    slide.write()
    assert (written / "annotations.dcm").read_bytes() == before


def table_of(path, outlines):
    """A table of cells of cluster 0 with these outlines."""
    n = len(outlines)
    columns = {
        "geometry": pa.array(shapely.to_wkb(outlines).tolist(), pa.binary()),
        "cluster": pa.array([0] * n, pa.int8()),
        "outlier": pa.array([False] * n),
        "area_um2": pa.array([6.25] * n, pa.float32()),
    }
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("corner", [(0, 0), (7, 2)])
def test_coordinates_count_from_the_corner_of_the_first_pixel(corner, slide, written, tmp_path):
    """A nucleus of the columns 10 to 19 and the rows 20 to 29 spans 10 to 20 and 20 to 30 (PS3.3, C.10.5).

    The origin is the top left corner of the first pixel, whose bottom right corner is 1, 1. From the centre of that
    pixel, it would span 9.5 to 19.5.
    """
    labels = np.zeros((48, 64), np.int32)
    labels[20:30, 10:20] = 1
    ((ring,),) = polygons(measure(labels))
    cells = table_of(tmp_path / "cells.parquet", [shapely.Polygon(ring)])
    # The name says nothing: the files of many archives have no suffix.
    image = write_dicom(tmp_path / "IM0001", drawn_pixels(64, 48))
    frame = Frame(name="bounds", x=corner[0], y=corner[1], canvas_width=64, canvas_height=48)
    summary = read_summary(written / "summary.json").model_copy(update={"frame": frame})
    assert write_annotations(cells, image, tmp_path / "out.dcm", summary, slide.bundle.manifest)
    found = ann.annread(tmp_path / "out.dcm")
    assert found.PixelOriginInterpretation == "VOLUME"
    (group,) = found.get_annotation_groups()
    (polygon,) = group.get_graphic_data(found.annotation_coordinate_type)
    x, y = corner
    assert [*polygon.min(axis=0), *polygon.max(axis=0)] == [10 + x, 20 + y, 20 + x, 30 + y]
    assert not np.array_equal(polygon[0], polygon[-1])


def test_slide_without_cells_has_none(slide, written, tmp_path):
    cells = table_of(tmp_path / "cells.parquet", [])
    summary, image = read_summary(written / "summary.json"), slide.source.path
    assert not write_annotations(cells, Path(image), tmp_path / "out.dcm", summary, slide.bundle.manifest)
    assert not (tmp_path / "out.dcm").exists()


def test_slide_of_another_format_has_none(tmp_path, bundle):
    path = write_striped(tmp_path / "a.tif", drawn_pixels(300, 250), 0.25)
    folder = prepared(tmp_path / "run", path, bundle, dicom_annotations=True).analyse().write()
    assert not (folder / "annotations.dcm").exists()


def test_what_is_missing_is_said_before_a_slide_is_analysed(slide, tmp_path, monkeypatch):
    with closing(open_slide(Path(slide.source.path), MAX_PIXELS)) as opened:
        check_formats(opened, slide.source, slide.batch)
        small = write_dicom(tmp_path / "small.dcm", drawn_pixels(64, 64))
        source = slide.source.model_copy(update={"path": str(small)})
        with pytest.raises(SlideError, match="No DICOM file of it has 600 x 500 pixels"):
            check_formats(opened, source, slide.batch)
        monkeypatch.delitem(sys.modules, "app.batch.write.dicom_annotations")
        monkeypatch.setitem(sys.modules, "highdicom", None)
        with pytest.raises(SlideError, match="The package highdicom is not installed on worker"):
            check_formats(opened, slide.source, slide.batch)
