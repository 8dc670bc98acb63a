from functools import partial

import numpy as np
import pytest

from tests.training.drawn_cells import ByGrey, labelled, unlabelled
from training.errors import DivergedError
from training.study.protocols.clustering import ClusteringTask, evaluate_clustering
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


def run(records, *systems, told=lambda line: None, made=None, **changes):
    task = ClusteringTask(**{"systems": systems, "seeds": (0, 1), "n_clusters": (2,), **changes})
    evaluate_clustering({"drawn": labelled()}, task, records, told, partial(find, made=made))
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


def test_number_of_clusters_tells_fits_apart(records):
    assert {record["n_clusters"] for record in run(records, "grey", n_clusters=(2, 3))} == {2, 3}


def test_system_that_is_missing_does_not_stop_the_others(records):
    said = []
    recorded = run(records, "missing", "grey", told=said.append)
    assert {record["system"] for record in recorded} == {"grey"}
    assert "'missing' cannot be run here" in said


def test_system_that_diverges_has_a_record_that_says_so(records):
    failed, _ = run(records, "diverges")
    assert failed["failed"] == "a loss became NaN"
    assert "purity" not in failed


@pytest.mark.parametrize("system", ["grey", "certain"])
def test_clusters_in_company_are_scored_beside_those_of_the_cell_alone(records, monkeypatch, system):
    """One cell of each tile of twelve is dark: its company outvotes it, probabilities or not."""
    monkeypatch.setitem(SYSTEMS, "certain", type("Certain", (ByGrey,), {"probabilities": None}))
    cells, dark = unlabelled(dark_share=[1 / 12] * 10)
    lonely = TypedCells(cells, dark.astype(np.int64), ("pale", "dark"), tuple("0123456789"))
    task = ClusteringTask((system,), seeds=(0,), n_clusters=(2,))
    evaluate_clustering({"drawn": lonely}, task, records, lambda line: None, find)
    (record,) = records.read()
    assert record["purity"] == 1
    assert record["in_company"]["purity"] == pytest.approx(11 / 12)
    assert record["in_company"]["used_clusters"] == 1
