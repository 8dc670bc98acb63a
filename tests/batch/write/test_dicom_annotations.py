"""The outlines of a DICOM slide as DICOM annotations, read back with highdicom."""

import json

import numpy as np
import pytest

from app.batch.read.slide import SlideError
from app.batch.summary import read_summary
from tests.batch.one_slide import prepared, small_tiles
from tests.batch.read.dicom import write_dicom
from tests.batch.read.drawn_slides import drawn_pixels, write_striped

ann = pytest.importorskip("highdicom.ann")
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


def test_slide_of_another_format_has_none(tmp_path, bundle):
    path = write_striped(tmp_path / "a.tif", drawn_pixels(300, 250), 0.25)
    folder = prepared(tmp_path / "run", path, bundle, dicom_annotations=True).analyse().write()
    assert not (folder / "annotations.dcm").exists()


def test_slide_without_the_file_of_its_full_resolution_is_refused(slide, written, tmp_path):
    from app.batch.write.dicom_annotations import write_annotations

    write_dicom(tmp_path / "small.dcm", drawn_pixels(64, 64))
    summary = read_summary(written / "summary.json")
    with pytest.raises(SlideError, match="annotations could refer"):
        write_annotations(written / "cells.parquet", tmp_path, tmp_path / "out.dcm", summary, slide.bundle.manifest)
