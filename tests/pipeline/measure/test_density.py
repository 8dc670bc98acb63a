"""Optical densities: those that were drawn, those of numpy, and those of HistomicsTK."""

import numpy as np
import pytest

from app.pipeline.measure.cells import measure_cells
from app.pipeline.measure.density import QUARTILE_LEVELS, STEP_OD, density_levels, to_od
from app.pipeline.measure.table import INDEX
from tests.drawing import disc
from tests.pipeline.measure.drawn_nuclei import MATRIX, blobs, measured, nuclei_of, stained

STEP = 0.02
"""8 bits of grey show a density to about this."""


def test_densities_are_the_drawn_ones():
    shape = (80, 80)
    nucleus = disc(shape, (40, 40), 12)
    found = measured(nuclei_of(nucleus), stained(np.where(nucleus, 0.8, 0.1), np.where(nucleus, 0.3, 0.5)))
    for name, density in (("haematoxylin_od", 0.8), ("eosin_od", 0.3)):
        for statistic in ("mean", "min", "max", "p25", "median", "p75"):
            assert found[f"{name}_{statistic}"] == pytest.approx(density, abs=STEP), name
    assert found["cytoplasm_haematoxylin_od_median"] == pytest.approx(0.1, abs=STEP)
    assert found["cytoplasm_eosin_od_median"] == pytest.approx(0.5, abs=STEP)


def test_cytoplasm_is_a_ring_without_glass_and_without_what_is_nearer_to_another_nucleus():
    """Left of the middle eosin is 0.4, right of it 0.6; two nuclei share a border there, and glass lies below."""
    shape = (80, 100)
    y, x = np.indices(shape)
    left, right = disc(shape, (40, 40), 8), disc(shape, (60, 40), 8)
    tissue = (y < 45) & (np.abs(x - 50) > 1)  # what is as near to both belongs to either
    eosin = np.where(tissue, np.where(x < 50, 0.4, 0.6), 0.0)
    stains = stained(np.where(left | right, 0.8, 0.05), eosin, tissue)
    found = measure_cells(stains, nuclei_of(left, right), 0.25).values
    assert found[0, INDEX["cytoplasm_eosin_od_max"]] == pytest.approx(0.4, abs=STEP)
    assert found[1, INDEX["cytoplasm_eosin_od_min"]] == pytest.approx(0.6, abs=STEP)


@pytest.fixture(scope="module")
def textured():
    random = np.random.default_rng(0)
    nuclei = nuclei_of(*blobs(3))
    shape = nuclei.label_image.shape
    return nuclei, stained(random.uniform(0.2, 1.2, shape), random.uniform(0, 0.6, shape))


def test_statistics_are_those_of_numpy(textured):
    nuclei, stains = textured
    values = measure_cells(stains, nuclei, 0.25).values
    levels = density_levels(stains.normalised, MATRIX)
    for name, level in zip(("haematoxylin_od", "eosin_od"), levels, strict=True):
        for i, row in enumerate(values):
            density = to_od(level[nuclei.label_image == i + 1].astype(float))
            wanted = [density.mean(), density.std(), density.min(), density.max()]
            names = ("mean", "sd", "min", "max")
            assert [row[INDEX[f"{name}_{statistic}"]] for statistic in names] == pytest.approx(wanted)
            found = [row[INDEX[f"{name}_{statistic}"]] for statistic in ("p25", "median", "p75")]
            assert found == pytest.approx(np.quantile(density, [0.25, 0.5, 0.75]), abs=QUARTILE_LEVELS * STEP_OD)


def test_statistics_are_those_of_histomicstk(textured):
    features = pytest.importorskip("histomicstk.features")
    nuclei, stains = textured
    values = measure_cells(stains, nuclei, 0.25).values
    density = to_od(density_levels(stains.normalised, MATRIX)[0].astype(float))
    theirs = features.compute_intensity_features(nuclei.label_image, density)
    for name, ours in (("Mean", "mean"), ("Std", "sd"), ("Min", "min"), ("Max", "max"), ("Median", "median")):
        column = values[:, INDEX[f"haematoxylin_od_{ours}"]]
        np.testing.assert_allclose(column, theirs[f"Intensity.{name}"], rtol=0.01, err_msg=name)
