import json

import pytest

from training.study.records import Records, provenance


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "results" / "task.json")


def test_nothing_is_found_before_anything_is_kept(records):
    assert records.read() == []
    assert records.find(set="a", seed=0) is None


def test_record_replaces_the_one_of_its_identity_alone(records):
    for seed, purity in ((0, 0.5), (1, 0.6), (0, 0.7)):
        records.keep({"set": "a", "system": "x", "seed": seed, "purity": purity})
    records.keep({"set": "a", "system": "x", "seed": 0, "n_clusters": 4, "purity": 0.9})
    assert len(records.read()) == 3
    assert records.find(set="a", system="x", seed=0)["purity"] == 0.7
    assert records.find(set="a", system="x", seed=0, n_clusters=4)["purity"] == 0.9


def test_order_of_the_file_does_not_depend_on_the_order_of_the_fits(records, tmp_path):
    other = Records(tmp_path / "other.json")
    for seed in (0, 1, 2):
        records.keep({"set": "a", "seed": seed})
        other.keep({"set": "a", "seed": 2 - seed})
    assert records.path.read_text() == other.path.read_text()


def test_figure_that_is_no_number_is_refused_and_harms_nothing(records):
    records.keep({"set": "a", "seed": 0, "purity": 0.5})
    with pytest.raises(ValueError, match="JSON compliant"):
        records.keep({"set": "a", "seed": 1, "purity": float("nan")})
    assert [record["seed"] for record in records.read()] == [0]


def test_provenance_names_every_library():
    assert json.dumps(provenance()).count(".") >= 3
    assert set(provenance()["libraries"]) == {"numpy", "scikit-learn", "torch"}
