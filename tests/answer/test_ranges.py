"""What a reader sees beside each proportion and measurement."""

from dataclasses import replace

import numpy as np
import pytest

from app.answer.ranges import quartiles_of
from app.pipeline.fit.reference_fit import ReferenceCells, fit_reference_ranges
from app.pipeline.measure.table import INDEX, MEASUREMENTS
from tests.answer.rendering import analysed, as_json
from tests.drawing import draw_tile, encoded, grid_of_centres

K = 5


def reference_like(analysis, *, areas, counts=(30, 30, 30, 30, 30)):
    """Ranges of six tiles of about these counts; their median nuclear areas are as many times those of the tile."""
    random = np.random.default_rng(0)
    tiles = [np.maximum(1, random.poisson(counts)) for _ in areas]
    sizes = [int(tile.sum()) for tile in tiles]
    measured = np.full((sum(sizes), len(MEASUREMENTS)), np.nan)
    area = float(np.nanmedian(analysis.measurements.column("area")))
    measured[:, INDEX["area"]] = np.repeat(np.array(areas) * area, sizes)
    return fit_reference_ranges(
        ReferenceCells(
            clusters=np.concatenate([np.repeat(np.arange(K), tile) for tile in tiles]),
            tile_index=np.repeat(np.arange(len(tiles)), sizes),
            n_clusters=K,
            names=tuple(measurement.name for measurement in MEASUREMENTS),
            units=tuple(measurement.unit for measurement in MEASUREMENTS),
            measurements=measured,
            cellularity=np.linspace(0.05, 0.15, len(tiles)),
        ),
        "drawn tiles",
    )


def with_ranges(result, ranges):
    manifest = result.bundle.manifest.model_copy(update={"reference_ranges": ranges})
    return replace(result, bundle=replace(result.bundle, manifest=manifest))


def area_of(answer):
    (found,) = [m for m in answer["measurements"] if m["title"] == "Nuclear area"]
    return found


@pytest.fixture(scope="module")
def drawn(bundle):
    """The bytes of a tile with nuclei, and its result."""
    data = encoded(draw_tile(grid_of_centres()))
    return data, analysed(data, bundle)


def test_proportions_stand_beside_the_range_of_the_reference_tiles(drawn):
    result = drawn[1]
    answer = as_json(with_ranges(result, reference_like(result.analysis, areas=[1, 1.1, 0.9, 1.2, 1, 0.8])))
    flags = set()
    for cluster in answer["clusters"]:
        found = cluster["reference"]
        assert found["low"] < 0.2 < found["high"]
        assert (found["n_tiles"], found["n_patients"], found["indicative"]) == (6, None, True)
        below, above = cluster["proportion"] < found["low"], cluster["proportion"] > found["high"]
        assert found["flag"] == ("low" if below else "high" if above else "within")
        flags.add(found["flag"])
    # Round nuclei of one size are in few clusters.
    assert {"low", "high"} <= flags
    within = answer["label"]["within_reference"]
    assert within["value"] is False
    assert within["distance"] > within["threshold"] > 0
    assert within["n_tiles"] == 6


def test_medians_stand_beside_the_range_of_the_reference_tiles(drawn):
    result = drawn[1]
    usual = as_json(with_ranges(result, reference_like(result.analysis, areas=[1, 1.1, 0.9, 1.2, 1, 0.8])))
    larger = as_json(with_ranges(result, reference_like(result.analysis, areas=[2, 2.1, 1.9, 2.2, 2, 1.8])))
    assert area_of(usual)["reference"]["flag"] == "within"
    assert area_of(larger)["reference"]["flag"] == "low"
    expected = [(m.column(False), m.group) for m in MEASUREMENTS]
    assert [(found["measurement"], found["group"]) for found in usual["measurements"]] == expected
    # Nothing but the area of the reference tiles is known.
    assert [found["reference"] for found in usual["measurements"]].count(None) == len(MEASUREMENTS) - 1


def test_cellularity_stands_beside_the_range_of_the_reference_tiles(drawn):
    result = drawn[1]
    tissue = as_json(with_ranges(result, reference_like(result.analysis, areas=[1] * 6)))["tissue"]
    assert tissue["reference"]["low"] < 0.05 < 0.15 < tissue["reference"]["high"] < tissue["cellularity"]
    assert tissue["reference"]["flag"] == "high"
    assert as_json(with_ranges(result, None))["tissue"]["reference"] is None


def test_a_summary_is_over_the_counted_cells(result):
    """Outliers are left out, and so are cells that could not be measured."""
    analysis = result.analysis
    areas = analysis.measurements.shown(False)[:, INDEX["area"]][~analysis.proportions.outlier]
    areas = areas[np.isfinite(areas)]
    found = area_of(as_json(result))
    assert found["n"] == len(areas) < len(analysis.proportions.outlier)
    assert [found["median"], *found["quartiles"]] == pytest.approx(np.quantile(areas, [0.5, 0.25, 0.75]), abs=1e-6)


def test_sizes_and_their_ranges_are_in_pixels_where_the_scale_is_not_known(drawn, bundle):
    data, without = drawn
    mpp = bundle.manifest.mpp
    ranges = reference_like(without.analysis, areas=[1, 1.1, 0.9, 1.2, 1, 0.8])
    px = area_of(as_json(with_ranges(without, ranges)))
    um = area_of(as_json(with_ranges(analysed(data, bundle, mpp=mpp), ranges)))
    assert (px["measurement"], px["unit"]) == ("area_px", "px")
    assert (um["measurement"], um["unit"]) == ("area_um2", "um2")
    assert um["median"] == pytest.approx(px["median"] * mpp**2, rel=1e-4)
    for end in ("low", "high"):
        assert um["reference"][end] == pytest.approx(px["reference"][end] * mpp**2, rel=1e-4)
    assert um["reference"]["flag"] == px["reference"]["flag"] == "within"


def test_a_bundle_without_ranges_answers_null(result):
    answer = as_json(with_ranges(result, None))
    assert {cluster["reference"] is None for cluster in answer["clusters"]} == {True}
    assert answer["label"]["within_reference"] is None
    assert area_of(answer)["reference"] is None


def test_a_tile_without_cells_has_ranges_and_no_flags(empty_result, drawn):
    answer = as_json(with_ranges(empty_result, reference_like(drawn[1].analysis, areas=[1, 1.1, 0.9, 1.2, 1, 0.8])))
    assert {cluster["reference"]["flag"] for cluster in answer["clusters"]} == {None}
    assert answer["label"]["within_reference"] is None
    found = area_of(answer)
    assert (found["n"], found["median"], found["quartiles"], found["reference"]["flag"]) == (0, None, None, None)


def test_quartiles_are_those_of_numpy():
    for size in (1, 2, 7, 40):
        values = np.random.default_rng(size).normal(size=size)
        values[1:][np.random.default_rng(1).random(size - 1) < 0.3] = np.nan
        n, quartiles = quartiles_of(values)
        np.testing.assert_allclose(quartiles, np.nanquantile(values, [0.25, 0.5, 0.75]))
        assert n == np.isfinite(values).sum()
    assert quartiles_of(np.array([np.nan])) == quartiles_of(np.zeros(0)) == (0, None)
