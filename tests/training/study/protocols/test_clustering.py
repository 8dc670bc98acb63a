from functools import partial

import numpy as np
import pytest

from tests.training.study.drawn_cells import ByGrey, labelled, unlabelled
from training.cells.unlabelled import UnlabelledCells
from training.errors import DivergedError
from training.study.protocols.clustering import (
    ClusteringTask,
    assign_with_neighbours,
    evaluate_agreement,
    evaluate_clustering,
)
from training.study.records import Records
from training.study.systems.cell_systems import MissingSystemError
from training.study.typed_cells import TypedCells


class Diverges(ByGrey):
    def fit(self, cells):
        raise DivergedError("a loss became NaN")


SYSTEMS = {"grey": ByGrey, "diverges": Diverges}


def find(name, made=None):
    if name not in SYSTEMS:
        raise MissingSystemError(f"'{name}' cannot be run here")
    if made is not None:
        made.append(name)
    return SYSTEMS[name]


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "clustering.json")


def run(records, *systems, report=lambda line: None, made=None, **changes):
    task = ClusteringTask(**{"systems": systems, "seeds": (0, 1), "n_clusters": (2,), **changes})
    evaluate_clustering({"drawn": labelled()}, task, records, report, partial(find, made=made))
    return records.read()


def test_every_fit_is_recorded_with_its_figures(records):
    first, second = run(records, "grey")
    assert [first["seed"], second["seed"]] == [0, 1]
    for record in (first, second):
        assert (record["set"], record["system"], record["n_clusters"]) == ("drawn", "grey", 2)
        assert record["purity"] == record["ari"] == 1
        assert record["cells"] == record["notes"]["learned_from"] == 120
        assert record["types"] == 2
        assert record["seconds"] >= 0


def test_figures_within_tiles_stand_beside_what_the_clusters_explain(records):
    """Two tiles of 120 cells, where the system is right in one and has a single cluster in the other."""
    cells, dark = unlabelled(n_tiles=20, dark_share=[0.5] * 10 + [0] * 10)
    merged = UnlabelledCells(cells.crops, cells.tile_index // 10, cells.centroids)
    types = np.where(merged.tile_index == 0, dark, np.arange(240) % 2).astype(np.int64)
    task = ClusteringTask(("grey",), seeds=(0,), n_clusters=(2,))
    evaluate_clustering({"two": TypedCells(merged, types, ("a", "b"), ("0", "1"))}, task, records, print, find)
    (record,) = records.read()
    assert record["within_tiles"] == pytest.approx(0.5)
    # The types are half and half in both tiles. Of the clusters one is half of the first tile: 1/4 of all cells.
    assert record["types_nmi_tile"] == pytest.approx(0)
    of_clusters = 2 - 0.75 * np.log2(3)
    assert record["nmi_tile"] == pytest.approx((of_clusters - 0.5) / ((of_clusters + 1) / 2))
    # Every crop is full, so its area and shape explain nothing; the clusters are by density.
    assert record["explained_area"] == record["explained_eccentricity"] == 0
    assert record["explained_density"] > 0.99
    assert 0 <= record["explained_contrast"] <= 1
    assert {"within_tiles", "nmi_tile"} <= set(record["in_company"])


def test_interrupted_run_goes_on_where_it_stopped(records):
    run(records, "grey", seeds=(0,))
    made = []
    run(records, "grey", seeds=(0, 1), made=made)
    assert made == ["grey"]


def test_fit_is_done_again_when_it_is_asked_for(records):
    run(records, "grey")
    made = []
    assert len(run(records, "grey", made=made, again=True)) == 2
    assert len(made) == 2


def test_number_of_clusters_identifies_a_fit(records):
    assert {record["n_clusters"] for record in run(records, "grey", n_clusters=(2, 3))} == {2, 3}


def test_system_that_is_missing_does_not_stop_the_others(records):
    lines = []
    recorded = run(records, "missing", "grey", report=lines.append)
    assert {record["system"] for record in recorded} == {"grey"}
    assert "'missing' cannot be run here" in lines


def test_system_that_diverges_has_a_record_that_says_so(records):
    failed, _ = run(records, "diverges")
    assert failed["failed"] == "a loss became NaN"
    assert "purity" not in failed


@pytest.mark.parametrize("system", ["grey", "certain"])
def test_clusters_with_neighbours_are_scored_beside_those_of_the_cell_alone(records, monkeypatch, system):
    """One cell of each tile of twelve is dark: its neighbours outvote it, probabilities or not."""
    monkeypatch.setitem(SYSTEMS, "certain", type("Certain", (ByGrey,), {"probabilities": None}))
    cells, dark = unlabelled(dark_share=[1 / 12] * 10)
    lonely = TypedCells(cells, dark.astype(np.int64), ("pale", "dark"), tuple("0123456789"))
    task = ClusteringTask((system,), seeds=(0,), n_clusters=(2,))
    evaluate_clustering({"drawn": lonely}, task, records, lambda line: None, find)
    (record,) = records.read()
    assert record["purity"] == 1
    assert record["in_company"]["purity"] == pytest.approx(11 / 12)
    assert record["in_company"]["used_clusters"] == 1


def cells_at(places, tiles):
    places = np.array(places, np.float64).reshape(-1, 2)
    return UnlabelledCells(np.zeros((len(places), 32, 32, 3), np.uint8), np.array(tiles, np.int64), places)


@pytest.mark.parametrize(("own", "expected"), [(0.9, 1), (0.99, 0)])
def test_neighbours_weigh_twice_as_much_as_the_cell(own, expected):
    """Against neighbours with .26 for cluster 0 a cell needs more than 3/2 − 2 · .26 = .98."""
    probabilities = np.full((17, 2), [0.26, 0.74], np.float32)
    probabilities[0] = own, 1 - own
    neighbour_index = np.tile(np.arange(1, 17), (17, 1))
    assert assign_with_neighbours(probabilities, neighbour_index)[0] == expected


class Fickle(ByGrey):
    """By grey with an even seed, by the place in the list with an odd one."""

    def clusters(self, crops):
        _, seed = self.arguments
        return np.arange(len(crops)) % 2 if seed % 2 else super().clusters(crops)


def test_every_pair_of_seeds_is_compared(tmp_path):
    records = Records(tmp_path / "agreement.json")
    lines = []
    evaluate_agreement({"drawn": unlabelled()[0]}, ("fickle", Fickle), 2, range(3), records, lines.append)
    found = {(record["seed"], record["other_seed"]): record for record in records.read()}
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    assert found[0, 2]["ari"] == found[0, 2]["nmi"] == 1
    # Dark cells come first in each tile: alternate ones are half dark, as by chance.
    assert found[0, 1]["ari"] == pytest.approx(0, abs=0.02)
    assert "seeds 0 and 2: ARI 1.000" in lines[1]
