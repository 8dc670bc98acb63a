import numpy as np
import pytest

from app.pipeline.crops import pictures
from tests.training.study.drawn_cells import ByGrey, labelled
from training.study.protocols import teach
from training.study.protocols.classification import ClassificationTask
from training.study.protocols.teach import (
    MOST_DIMENSIONS,
    WALL,
    WAYS,
    Pupil,
    Side,
    Split,
    evaluate_teach,
    fit_split,
    reached_at,
)
from training.study.records import Records

N = 300


@pytest.fixture
def split():
    """300 cells of three types: type 0 is cluster 0, the other two are mixed in cluster 1."""
    random = np.random.default_rng(0)
    types = np.repeat([0, 1, 2], N // 3)
    features = random.normal(size=(N, 4)).astype(np.float32)
    features[np.arange(N), types] += 4
    side = Side(features, features.astype(np.float64), random.uniform(0, 99, (N, 2)), np.arange(N) % 6, types)
    return Split(side, side, np.minimum(types, 1), ("a", "b", "c"), {"f1": 1.0, "macro_f1": 1.0})


@pytest.fixture
def named(split):
    """Returns the cells that each action of a way names."""

    def actions(way, most=10_000):
        pupil = Pupil(split.training, split.type_names, 0)
        found = []
        for cells in WAYS[way](split, pupil, np.random.default_rng(0)):
            found.append(cells)
            pupil.name(cells)
            if len(found) == most:
                break
        return found

    return actions


def test_commonest_type_of_a_wall_is_named_first_and_each_other_type_by_an_action_of_its_own(split, named):
    first, *others, again = named("groups", 4)
    # Cluster 0 has one type.
    assert len(first) == len(again) == WALL
    assert max(*first, *again) < 100
    assert min(map(min, others)) >= 100
    assert sum(map(len, others)) == WALL
    assert [len(set(split.training.types[cells])) for cells in others] == [1, 1]
    assert len(others[0]) >= len(others[1])


@pytest.mark.parametrize("way", ["groups", "one-by-one"])
def test_every_cell_is_named_once(named, way):
    found = named(way)
    assert sorted(np.concatenate(found)) == list(range(N))
    assert (len(found) < N / 5) == (way == "groups")


def test_doubtful_cells_come_one_by_one_once_a_classifier_can_be_taught(split, named, monkeypatch):
    at_random = named("one-by-one", 3)
    taught = np.linspace(1, 0, N)
    monkeypatch.setattr(Pupil, "certainty", lambda self: taught if self.is_named.sum() > 2 else None)
    found = np.concatenate(named("doubtful-first", 6))
    assert len(set(found)) == 6
    np.testing.assert_array_equal(found[3:], np.setdiff1d(np.arange(N), found[:3])[::-1][:3])
    assert len(at_random) == 3


def test_until_a_classifier_can_be_taught_every_cell_gets_the_commonest_type(split):
    pupil = Pupil(split.training, split.type_names, 0)
    pupil.name(np.array([0, 100, 101]))
    pupil.learn()
    assert pupil.certainty() is None
    assert pupil.types(split.test).tolist() == [1] * N


def test_types_with_few_named_cells_are_left_out_and_known_ones_are_told(split):
    pupil = Pupil(split.training, split.type_names, 0)
    pupil.name(np.r_[0:4, 100:120, 200:220])
    pupil.learn()
    found = pupil.types(split.test)
    assert set(found) == {1, 2}
    assert (found[100:] == split.test.types[100:]).mean() > 0.9
    assert ((pupil.certainty() > 0) & (pupil.certainty() <= 1)).all()


def test_doubts_are_asked_again_only_when_half_as_many_cells_more_are_named(split, monkeypatch):
    sizes = []
    real = teach.teach
    monkeypatch.setattr(teach, "teach", lambda cells, **given: sizes.append(len(cells)) or real(cells, **given))
    pupil = Pupil(split.training, split.type_names, 0)
    order = np.random.default_rng(0).permutation(N)
    for n in range(20, 51):
        pupil.name(order[:n])
        pupil.certainty()
    assert sizes == [20, 30, 45]


def test_curve_reaches_a_score_between_its_points_in_the_logarithm():
    assert reached_at([10, 1000], [0.2, 0.6], 0.4) == pytest.approx(100)
    assert reached_at([5, 10], [0.5, 0.6], 0.4) == 5
    assert reached_at([5, 10, 20], [0.1, 0.5, 0.2], 0.5) == pytest.approx(10)
    assert reached_at([5, 10], [0.1, 0.2], 0.3) is None


def test_system_is_fitted_once_for_all_ways_and_what_is_recorded_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(teach, "ACTIONS", (5, 20, 100))
    made, lines = [], []
    records = Records(tmp_path / "teach.json")
    task = ClassificationTask(("grey",), splits=(0, 1), seeds=(0,))
    for _ in range(2):
        evaluate_teach(
            {"drawn": labelled()},
            task,
            records,
            lines.append,
            lambda name: lambda seed: made.append(ByGrey(seed)) or made[-1],
        )
    assert len(made) == 2
    found = records.read()
    assert [(one["way"], one["split"]) for one in found] == [(way, n) for way in sorted(WAYS) for n in (0, 1)]
    assert lines[0].startswith("drawn, grey, groups, split 0, seed 0: 5 actions to 90% of F 1.000")
    assert sum("recorded already" in line for line in lines) == 6
    for record in found:
        assert (record["training_cells"], record["test_cells"], record["dimensions"]) == (96, 24, 3)
        assert record["full_f1"] == record["f1_100"] == record["macro_f1_100"] == 1
        assert record["cells_100"] == 96
        if record["way"] == "groups":
            assert record["cells_5"] == 96
        else:
            assert [record[f"cells_{number}"] for number in (5, 20, 100)] == [5, 20, 96]
            assert record["f1_5"] < 1
            assert record["cells_to_f1"] == record["actions_to_f1"] > 5
    for system in made:
        assert len(system.seen) == 96


class Wide:
    """Features without clusters, of more dimensions than are kept."""

    def __init__(self, seed):
        pass

    def fit(self, cells):
        pass

    def features(self, crops):
        random = np.random.default_rng(len(crops))
        grey = pictures(crops).mean(axis=(1, 2, 3), dtype=np.float32)[:, None]
        return (grey + random.normal(size=(len(crops), MOST_DIMENSIONS + 44))).astype(np.float32)


def test_features_without_clusters_get_those_of_kmeans_and_many_are_reduced():
    cells = labelled()
    few = fit_split(Wide, cells, 0, 0)
    assert few.training.features.shape == (96, MOST_DIMENSIONS + 44)
    assert len(np.unique(few.clusters)) == 5
    assert few.full["f1"] > 0.9


def test_reduced_features_keep_their_proportions():
    random = np.random.default_rng(0)
    training, test = (random.normal(size=(n, 300)) @ random.normal(size=(300, 300)) for n in (500, 20))
    first, second = teach._reduce(training.astype(np.float32), test.astype(np.float32))
    assert first.shape == (500, MOST_DIMENSIONS)
    assert second.shape == (20, MOST_DIMENSIONS)
    np.testing.assert_allclose(first.var(axis=0), first.var(axis=0).mean(), rtol=1e-3)
    standardised = (training - training.mean(axis=0)) / training.std(axis=0)
    kept = np.linalg.norm(first[0] - first[1]) / np.linalg.norm(standardised[0] - standardised[1])
    assert 0.95 < kept <= 1.0
