"""The types of a slide's cells in its results, where the bundle has a cell classifier."""

import csv
import io
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from app.answer.present import Result
from app.batch.summary import read_summary
from app.batch.write.cohort import regions_table, slides_table, table_csv
from app.batch.write.report import cohort_report
from app.pipeline.cell_types import classify
from app.pipeline.run import analyse
from tests.batch.one_slide import MAX_PIXELS, prepared, small_tiles
from tests.batch.read.drawn_slides import drawn_pixels, write_striped
from tests.cell_classifiers import taught

LEFT_HALF = {
    "type": "Feature",
    "geometry": shapely.geometry.mapping(shapely.box(0, 0, 350, 900)),
    "properties": {"name": "left"},
}
TYPES = ["dark small", "pale large"]


class Seeing:
    """The backend of a bundle, which also gives 8 features of a cell: means of a part of its crop."""

    def __init__(self, backend):
        self._backend = backend
        self.name, self.device, self.precisions = backend.name, backend.device, backend.precisions

    def describe(self, crops, precision="full"):
        features = crops[:, :, 8:24, 8:24].mean(axis=(2, 3))[:, [0, 1, 2, 0, 1, 2, 0, 1]]
        return replace(self._backend.describe(crops, precision), features=np.ascontiguousarray(features))


@pytest.fixture(scope="module")
def typing(bundle):
    """A bundle that gives a type by the colour of a cell and of its neighbours, and by its area."""
    weights = [[1.0, *[0.0] * 7, 1.0, *[0.0] * 7, 1.0], [0.0] * 17]
    values = {"neighbours": True, "measurements": ["area"], "weights": weights, "threshold": 0.6}
    classifier = taught(**values)
    # About those of the drawn cells.
    mean = (-0.418, *[0.0] * 7, -0.418, *[0.0] * 7, 23.67)
    deviation = (0.009, *[1.0] * 7, 0.004, *[1.0] * 7, 0.16)
    seeing = bundle.manifest.architecture.model_copy(update={"encoder_width": 1})
    changes = {
        "architecture": seeing,
        "cell_classifier": classifier.model_copy(update={"mean": mean, "deviation": deviation}),
    }
    return replace(bundle, manifest=bundle.manifest.model_copy(update=changes), backend=Seeing(bundle.backend))


@pytest.fixture(scope="module")
def pixels():
    return np.tile(drawn_pixels(450, 350), (2, 2, 1))


@pytest.fixture(scope="module")
def slide(tmp_path_factory, pixels, typing):
    """A slide of several tiles with one region, and the folder of its results."""
    at = tmp_path_factory.mktemp("typed")
    regions = at / "a.geojson"
    regions.write_text(json.dumps({"type": "FeatureCollection", "features": [LEFT_HALF]}))
    with pytest.MonkeyPatch.context() as patch:
        small_tiles(patch)
        path = write_striped(at / "a.tif", pixels)
        found = prepared(at / "run", path, typing, mpp=0.25).analyse()
        assert len(found.plan.tiles) > 4
        results = found.write()
        of_region = prepared(at / "region", path, typing, mpp=0.25, regions=regions).analyse()
        return found, results, of_region.write()


@pytest.fixture(scope="module")
def table(slide):
    return pq.read_table(slide[1] / "cells.parquet")


def test_cells_have_types_of_their_features_measurements_and_neighbours_in_any_tile(table, typing):
    places = np.column_stack([table["x"], table["y"]])
    area = np.array([[np.nan if value is None else value] for value in table["area_um2"].to_pylist()])
    area[np.array(table["touches_border"])] = np.nan
    features = np.array(table["features"].to_pylist(), np.float32)
    expected = classify(features, area, places, typing.manifest.cell_classifier)
    names = [*TYPES, None]
    assert table["type"].to_pylist() == [names[t] for t in expected.types]
    found = np.array([np.nan if p is None else p for p in table["type_probability"].to_pylist()])
    sure = np.where(expected.types < 0, np.nan, expected.probabilities.max(axis=1))
    np.testing.assert_allclose(found, sure, atol=2e-3)
    assert set(table["type"].to_pylist()) == {*TYPES, None}


def test_slide_of_one_tile_has_the_types_of_the_upload(tmp_path, pixels, typing, slide):
    path = write_striped(tmp_path / "a.tif", pixels)
    one = prepared(tmp_path / "one", path, typing, mpp=0.25).analyse()
    table = pq.read_table(one.write() / "cells.parquet")
    whole = Result(analyse(path.read_bytes(), typing, max_pixels=MAX_PIXELS, mpp=0.25), typing, "0" * 32)
    at = {(round(x), round(y)): name for (x, y), name in zip(whole.cells.centroids, whole.cells.types, strict=True)}
    found = {
        (round(x), round(y)): name
        for x, y, name in zip(table["x"].to_pylist(), table["y"].to_pylist(), table["type"].to_pylist(), strict=True)
    }
    same = [at[place] == name for place, name in found.items() if place in at]
    # The stain of a slide is measured on a part of it, so a cell near the threshold may differ.
    assert len(same) > 0.9 * len(at)
    assert np.mean(same) > 0.95


def test_summary_counts_the_types_of_the_table(slide, table):
    summary = read_summary(slide[1] / "summary.json")
    counted = Counter(
        name
        for name, outlier in zip(table["type"].to_pylist(), table["outlier"].to_pylist(), strict=True)
        if not outlier
    )
    assert [(one.type, one.count) for one in summary.types] == [(name, counted[name]) for name in TYPES]
    assert summary.cells_without_type == counted[None] > 0
    for one in summary.types:
        assert one.interval[0] <= one.proportion <= one.interval[1]
    ratio = counted["pale large"] / counted["dark small"]
    assert summary.myeloid_erythroid_ratio == pytest.approx(ratio, abs=1e-6)


def test_region_has_shares_of_its_own(slide):
    summary = read_summary(slide[2] / "summary.json")
    (region,) = summary.regions
    n = sum(one.count for one in region.types) + region.cells_without_type
    assert n == region.cells - region.outliers.count > 0
    assert region.types == summary.types, "the region is all that was analysed"


def test_tables_of_the_cohort_have_columns_of_each_type(slide):
    summary = read_summary(slide[2] / "summary.json")
    for made in (slides_table([summary], [], 5, TYPES), regions_table([summary], 5, TYPES)):
        (row,) = csv.DictReader(io.StringIO(table_csv(made).decode(), newline=""))
        for one in summary.types:
            assert int(row[f"type_count_{one.type}"]) == one.count
            assert float(row[f"type_proportion_{one.type}"]) == one.proportion
            assert (float(row[f"type_low_{one.type}"]), float(row[f"type_high_{one.type}"])) == one.interval
            assert float(row[f"type_density_{one.type}"]) == pytest.approx(one.count / summary.tissue_mm2, abs=1e-3)
        assert int(row["cells_without_type"]) == summary.cells_without_type
        assert float(row["myeloid_erythroid_ratio"]) == summary.myeloid_erythroid_ratio
    plain = slides_table([summary], [], 5).column_names
    assert not [
        name for name in plain if name.startswith("type_") or name in ("cells_without_type", "myeloid_erythroid_ratio")
    ]


def test_geojson_has_the_types_as_classifications(slide, table):
    (path,) = slide[1].glob("*.geojson")
    features = json.loads(path.read_bytes())["features"]
    colors = {"dark small": [0xD5, 0x5E, 0x00], "pale large": [0x00, 0x72, 0xB2]}
    assert len(features) == len(table)
    for feature, name, outlier, sureness in zip(
        features,
        table["type"].to_pylist(),
        table["outlier"].to_pylist(),
        table["type_probability"].to_pylist(),
        strict=True,
    ):
        found = feature["properties"].get("classification")
        if outlier:
            assert found["name"] == "Outlier"
        else:
            assert found == (None if name is None else {"name": name, "color": colors[name]})
        measured = feature["properties"]["measurements"].get("Type probability")
        assert measured == (None if sureness is None else pytest.approx(sureness, abs=1e-6))


def test_reports_show_the_shares_of_the_types(slide):
    report = (slide[1] / "report.html").read_text(encoding="utf-8")
    summary = read_summary(slide[1] / "summary.json")
    assert "<h2>Cell types</h2>" in report
    for one in summary.types:
        assert one.type in report
        assert f"{100 * one.proportion:.1f}%" in report
    assert f"{summary.myeloid_erythroid_ratio:.2f}</strong> to 1" in report
    cohort = cohort_report([summary], [], b"", []).decode()
    assert "Cell types" in cohort
    assert "pale large" in cohort


@pytest.mark.parametrize(
    ("groups", "reason"),
    [(2, "The named cells are of fewer than three tiles"), (4, "Too few types were named on several tiles")],
)
def test_reports_warn_of_figures_that_are_optimistic(tmp_path, typing, groups, reason):
    classifier = typing.manifest.cell_classifier
    changes = {"optimistic": True, "groups": groups}
    flattering = classifier.model_copy(update={"validation": classifier.validation.model_copy(update=changes)})
    manifest = typing.manifest.model_copy(update={"cell_classifier": flattering})
    path = write_striped(tmp_path / "a.tif", drawn_pixels(450, 350))
    results = prepared(tmp_path / "run", path, replace(typing, manifest=manifest), mpp=0.25).analyse().write()
    summary = read_summary(results / "summary.json")
    assert summary.types_warning.startswith(reason)
    assert summary.types_warning.endswith("the intervals too narrow.")
    for report in (
        (results / "report.html").read_text(encoding="utf-8"),
        cohort_report([summary], [], b"", []).decode(),
    ):
        assert f"less sure than they look.</strong> {summary.types_warning}" in report


def test_reports_do_not_warn_of_figures_that_hold(slide):
    summary = read_summary(slide[1] / "summary.json")
    assert summary.types_warning is None
    for report in (
        (slide[1] / "report.html").read_text(encoding="utf-8"),
        cohort_report([summary], [], b"", []).decode(),
    ):
        assert "less sure" not in report


def test_reports_of_a_bundle_without_types_do_not_speak_of_them(example):
    assert example.summary.types is None
    assert "Cell types" not in cohort_report([example.summary], [], b"", []).decode()
