import numpy as np
import pytest
import shapely

from app.batch.analyse.cells import count, kept_rows, quality_with, slide_cells
from app.batch.plan.plan import Region
from app.batch.plan.regions import region_members
from app.pipeline.measure.table import INDEX
from app.pipeline.run import analyse
from tests.batch.cells import cells_at
from tests.batch.one_slide import MAX_PIXELS, prepared
from tests.descriptors import with_area

LEFT = Region(name="left", wkt=shapely.box(0, 0, 50, 100).wkt)


@pytest.fixture
def cells():
    places = np.random.default_rng(0).uniform(0, 100, (300, 2))
    return cells_at(places, np.arange(300) % 5, np.arange(300) % 50 == 0)


@pytest.fixture(scope="module")
def quality(example):
    """Of a slide that nothing is wrong with."""
    return example.summary.quality.model_copy(update={"flags": []})


def test_counts_are_of_the_members_alone_and_outliers_are_of_no_cluster(cells, quality, manifest):
    members = region_members(cells.centroids, (LEFT,))[0]
    counts = count(cells, members, 1.5, None, quality, manifest, scale_known=True)
    counted = members & ~cells.outlier
    assert (counts.cells, counts.tissue_mm2) == (members.sum(), 1.5)
    assert counts.outliers.count == (members & cells.outlier).sum()
    assert [cluster.count for cluster in counts.clusters] == np.bincount(cells.clusters[counted], minlength=5).tolist()
    assert [cluster.proportion for cluster in counts.clusters] == pytest.approx(
        np.bincount(cells.clusters[counted], minlength=5) / counted.sum()
    )


def test_parts_of_a_slide_add_up_to_it(cells, quality, manifest):
    members = region_members(cells.centroids, (LEFT,))[0]
    parts = [count(cells, inside, 1, None, quality, manifest, scale_known=True) for inside in (members, ~members)]
    whole = count(cells, np.ones(300, bool), 2, None, quality, manifest, scale_known=True)
    for k in range(5):
        assert sum(part.clusters[k].count for part in parts) == whole.clusters[k].count


def test_region_with_few_cells_has_no_label_though_the_slide_has_one(cells, quality, manifest):
    assert count(cells, np.ones(300, bool), 1, None, quality, manifest, scale_known=True).label.value != "indeterminate"
    few = count(cells, np.arange(300) < 5, 1, None, quality, manifest, scale_known=True)
    assert few.label.value == "indeterminate"
    assert few.label.reason


def test_no_cells_have_no_proportions_and_no_label(quality, manifest):
    counts = count(cells_at([], []), np.zeros(0, bool), 1, None, quality, manifest, scale_known=True)
    assert (counts.cells, counts.outliers.share) == (0, None)
    empty = [(cluster.count, cluster.proportion, cluster.interval) for cluster in counts.clusters]
    assert empty == [(0, None, None)] * 5
    assert counts.label.value == "indeterminate"


def test_what_is_wrong_with_the_slide_prevents_the_labels_of_its_regions(cells, example, manifest):
    flag = {"code": "blurred", "message": "Focus is low.", "value": 1, "threshold": 2, "prevents_label": True}
    blurred = example.summary.quality.model_validate({**example.summary.quality.model_dump(), "flags": [flag]})
    counts = count(cells, np.ones(300, bool), 1, None, blurred, manifest, scale_known=True)
    assert (counts.label.value, counts.label.reason) == ("indeterminate", "Focus is low.")


def test_many_outliers_are_flagged_beside_what_was_measured(cells, quality, manifest):
    odd = cells_at(cells.centroids, cells.clusters, np.arange(300) % 2 == 0)
    before = quality.model_copy(update={"flags": ["kept"]})
    before_them, *flags = quality_with(before, odd, np.ones(300, bool), manifest).flags
    assert (before_them, [flag.code for flag in flags]) == ("kept", ["few_cells", "many_outliers"])
    flags = quality_with(quality, cells, np.ones(300, bool), manifest).flags
    assert [flag.code for flag in flags] == ["few_cells"]


def test_sample_tile_is_counted_as_the_service_counts_it(tmp_path, sample, bundle):
    (tmp_path / "sample.png").write_bytes(sample)
    slide = prepared(tmp_path / "run", tmp_path / "sample.png", bundle).analyse()
    found = slide_cells(slide.folder, slide.plan, kept_rows(slide.folder, slide.plan), bundle.manifest)
    counts = count(found, np.ones(len(found), bool), 1, None, slide.plan.quality, bundle.manifest, scale_known=True)
    analysis = analyse(sample, bundle, max_pixels=MAX_PIXELS)
    np.testing.assert_array_equal(found.clusters, analysis.proportions.clusters)
    np.testing.assert_array_equal(found.outlier, analysis.proportions.outlier)
    assert [cluster.proportion for cluster in counts.clusters] == analysis.proportions.values.tolist()
    assert [list(cluster.interval) for cluster in counts.clusters] == analysis.proportions.intervals.tolist()
    assert (counts.label.value, counts.label.reason) == (analysis.label.value, analysis.label.reason)
    assert counts.label.score == analysis.label.evidence.score


@pytest.mark.parametrize(("scale_known", "shown"), [(True, 26.0), (False, 26.0 / 0.25**2)])
def test_label_by_measurements_is_of_the_counted_members_and_in_um(cells, quality, manifest, scale_known, shown):
    members = region_members(cells.centroids, (LEFT,))[0]
    areas = np.where(members & ~cells.outlier, shown, 9 * shown)
    cells.measurements[:, INDEX["area"]] = areas
    level = with_area(manifest.image_level, 0.5)
    manifest = manifest.model_copy(update={"image_level": level})
    label = count(cells, members, 1, None, quality, manifest, scale_known=scale_known).label
    (area,) = label.measurement_contributions
    assert (area.measurement, area.value, area.contribution) == ("area_um2", pytest.approx(26), pytest.approx(0.75))
    cells.measurements[:, INDEX["area"]] = np.nan
    label = count(cells, members, 1, None, quality, manifest, scale_known=scale_known).label
    assert (label.value, label.score, label.measurement_contributions) == ("indeterminate", None, [])
    assert "Nuclear area" in label.reason
