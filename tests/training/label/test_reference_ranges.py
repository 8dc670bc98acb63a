"""Which training tiles are the reference, and what is kept of them."""

from dataclasses import replace

import numpy as np
import pytest

from app.pipeline.measure.table import INDEX
from app.pipeline.reference_ranges import ReferenceTile, compare
from training.cells.tile_labels import TileLabels
from training.label.reference_ranges import fit_ranges


def dealt(cells, n_tiles, labels=None):
    """The cells dealt out to so many tiles in turn, so that no two neighbours are of one tile."""
    return replace(
        cells,
        tile_index=np.arange(len(cells)) % n_tiles,
        tiles=tuple(f"t{i}" for i in range(n_tiles)),
        cellularity=0.4 + 0.05 * np.arange(n_tiles),
        labels=labels,
    )


def test_without_labels_all_tiles_are_the_reference(cells):
    found = dealt(cells, 6)
    clusters = np.arange(len(cells)) // 6 % 2
    ranges = fit_ranges(found, clusters, 5)
    assert ranges.basis == "6 training tiles, all of them healthy, of unknown patients"
    assert [sum(tile.counts) for tile in ranges.tiles] == [20] * 6
    assert ranges.tiles[0].counts == (10, 10, 0, 0, 0)
    assert ranges.tiles[0].patient is None
    own = found.areas_px[found.tile_index == 3] * 0.25**2
    assert ranges.tiles[3].medians[INDEX["area"]] == pytest.approx(np.median(own))
    assert "t0" not in ranges.model_dump_json()
    limits = ranges.of_median("area")
    assert limits.n_tiles == 6
    assert compare(limits, float(np.median(own)), 20).flag == "within"
    # On these cells only the area was measured.
    assert ranges.of_median("perimeter") is None


def test_with_labels_the_normal_tiles_are_the_reference(cells):
    labels = TileLabels(np.array([0, 1, 0, 1, 0, 0, 1, 1]), np.array([4, 4, 9, 9, 9, 7, 5, 2]))
    found = dealt(cells, 8, labels)
    # Cluster 1 is in abnormal tiles only, and one of the tiles has lost its cells.
    clusters = labels.abnormal[found.tile_index]
    kept = found.only(found.tile_index != 5)
    ranges = fit_ranges(kept, clusters[found.tile_index != 5], 5)
    assert ranges.basis == "3 training tiles that were labelled normal, of 2 patients"
    assert [tile.counts[1] for tile in ranges.tiles] == [0, 0, 0]
    assert [tile.patient for tile in ranges.tiles] == [0, 1, 1]
    assert [tile.cellularity for tile in ranges.tiles] == pytest.approx([0.4, 0.5, 0.6])
    assert {limits.n_patients for limits in ranges.proportions} == {2}
    unknown = fit_ranges(dealt(cells, 8, TileLabels(labels.abnormal, None)), clusters, 5)
    assert unknown.basis == "4 training tiles that were labelled normal, of unknown patients"
    assert isinstance(unknown.tiles[0], ReferenceTile)


def test_tiles_of_one_patient_give_no_range(cells):
    labels = TileLabels(np.array([0, 0, 0, 1, 1, 1]), np.array([1, 1, 1, 2, 3, 4]))
    assert fit_ranges(dealt(cells, 6, labels), np.zeros(len(cells), np.int64), 5) is None
