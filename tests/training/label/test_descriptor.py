from dataclasses import replace

import numpy as np
import pytest

from app.pipeline.label.decide import decide_label
from app.pipeline.manifest import ImageLevel
from app.pipeline.measure.table import INDEX, MEASUREMENTS
from training.cells.tile_labels import TileLabels
from training.errors import DataError
from training.label.descriptor import NAMES, fit_standards
from training.label.image_level import fit_image_level
from training.label.simulated_bags import simulate_bags

COLUMNS = [INDEX[name] for name in NAMES]


@pytest.fixture(scope="module")
def fit_config(smoke):
    return replace(smoke.fit, descriptor="proportions+measurements")


def measured(cells, medians):
    """The cells dealt out to as many tiles, ten to each, of which this many have the given medians and no spread."""
    n = len(medians)
    few = np.arange(10 * n) % len(cells)
    values = np.full((10 * n, len(MEASUREMENTS)), np.nan)
    values[:, COLUMNS] = np.random.default_rng(0).normal(1, 0.05, (10 * n, len(COLUMNS)))
    values[:, INDEX["area"]] = np.repeat(medians, 10)
    return replace(
        cells,
        crops=cells.crops[few],
        tile_index=np.arange(10 * n) // 10,
        areas_px=cells.areas_px[few],
        measurements=values,
        tiles=tuple(f"t{i}" for i in range(n)),
        cellularity=np.full(n, 0.5),
    )


def test_tiles_that_differ_in_size_alone_are_separated_by_measurements_only(cells, smoke, fit_config):
    """Every tile has the same proportions; the nuclei of abnormal ones are larger."""
    abnormal = np.array([0, 1] * 20)
    found = replace(measured(cells, 20.0 + 10 * abnormal), labels=TileLabels(abnormal, None))
    clusters = np.arange(len(found)) % 5
    result = fit_image_level(found, clusters, 5, fit_config)
    assert result["metrics"]["auc"] == 1
    model = ImageLevel.model_validate(result["model"])
    assert (model.descriptor, model.measurements[0].measurement) == ("proportions+measurements", "area_um2")
    assert (model.measurements[0].centre, model.measurements[0].scale) == (25, 5)
    assert {len(svm.weights) for svm in (model.svm, *model.conformal.without_a_normal)} == {5 + len(NAMES)}
    medians = {one.measurement: one.centre for one in model.measurements}
    for area, value in ((20.0, "normal"), (30.0, "abnormal")):
        label = decide_label(np.full(5, 0.2), 300, model, medians=medians | {"area_um2": area})
        assert label.evidence.conformal == (value,)
        assert (label.evidence.score > 0) == (value == "abnormal")
    with pytest.raises(DataError, match="do not score higher"):
        fit_image_level(found, clusters, 5, smoke.fit)


def test_cells_of_a_bag_are_drawn_with_their_measurements(cells, fit_config):
    found = measured(cells, [10.0, 20.0, 60.0])
    standards = fit_standards(found, fit_config)
    bags, tiles = simulate_bags(found, np.zeros(len(found), np.int64), 2, fit_config, standards)
    normal = bags.abnormal == 0
    # Each tile's nuclei are all of one size, so that a bag of them has that median: mean 30, sd √(1400 / 3).
    expected = (np.array([10.0, 20, 60])[tiles[normal]] - 30) / np.sqrt(1400 / 3)
    np.testing.assert_allclose(bags.measurements[normal, 0], expected)
    assert bags.descriptors.shape == (len(tiles), 2 + len(NAMES))


def test_simulated_bags_give_a_model_of_the_longer_descriptor(cells, fit_config):
    found = measured(cells, [20.0, 25.0, 21.0])
    clusters = np.arange(len(found)) % 5
    model = ImageLevel.model_validate(fit_image_level(found, clusters, 5, fit_config)["model"])
    assert len(model.svm.weights) == 5 + len(NAMES)
    assert len(model.kmeans.centres[0]) == len(model.reference.mean) == 5


def test_descriptor_of_proportions_needs_no_measurement(cells, smoke):
    values = np.full((len(cells), len(MEASUREMENTS)), np.nan)
    result = fit_image_level(replace(cells, measurements=values), np.arange(len(cells)) % 5, 5, smoke.fit)
    assert (result["model"]["descriptor"], result["model"]["measurements"]) == ("proportions", [])


def test_tile_without_a_measurement_is_refused_by_its_name(cells, fit_config):
    found = measured(cells, [20.0, 25.0])
    found.measurements[found.tile_index == 1, INDEX["chromatin_contrast"]] = np.nan
    with pytest.raises(DataError, match=r"chromatin_contrast was measured on no cell of tile t1.*\"proportions\""):
        fit_image_level(found, np.arange(len(found)) % 5, 5, fit_config)


def test_measurement_that_does_not_vary_over_the_tiles_has_no_part_in_the_score(cells, fit_config):
    standards = fit_standards(measured(cells, [20.0, 20.0]), fit_config)
    assert standards.scales[0] == 1
    assert standards.of(np.full((3, len(MEASUREMENTS)), 20.0), "a tile")[0] == 0
