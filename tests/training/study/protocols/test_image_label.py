import numpy as np
import pytest

from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.training.study.drawn_cells import CELLS_PER_TILE, ByGrey, unlabelled
from training.cells.unlabelled import UnlabelledCells
from training.errors import DataError
from training.study.labelled_tiles import LabelledTiles, split_into_blocks
from training.study.protocols.image_label import (
    KMEANS,
    N_CELLS,
    SVM,
    SVM_DENSITY,
    SVM_MEASUREMENTS,
    SVM_SOFT,
    BundleTiles,
    ImageLabelTask,
    analyse_labelled,
    evaluate_bundle,
    evaluate_image_label,
    evaluate_whole_tiles,
    mean_by_tile,
)
from training.study.records import Records
from training.study.systems.tile_heads import TileFold, by_kmeans, by_logistic_regression, by_svm, score

N_TILES = 32
POSITIVE = np.repeat([1, 0], N_TILES // 2)


@pytest.fixture
def tiles():
    """The positive ones are two thirds dark cells, the others a third."""
    cells, _ = unlabelled(N_TILES, np.where(POSITIVE, 0.67, 0.33))
    order = np.tile(np.arange(N_TILES // 2), 2)
    return LabelledTiles(cells, POSITIVE, split_into_blocks(order, POSITIVE), tuple(map(str, range(N_TILES))))


def test_proportions_that_separate_the_tiles_score_best(tiles, tmp_path):
    made = []

    def find(name):
        return lambda n_clusters, seed: made.append(ByGrey(n_clusters, seed)) or made[-1]

    records = Records(tmp_path / "image_label.json")
    for _ in range(2):
        evaluate_image_label("drawn", tiles, ImageLabelTask(("grey",), (3,), (2,), 200), records, print, find)
    found = records.read()
    assert len(made) == 4
    assert [(record["head"], record["fold"]) for record in found] == sorted(
        (head, fold) for head in (KMEANS, SVM, SVM_DENSITY, SVM_SOFT) for fold in range(4)
    )
    for record in found:
        assert record["f1"] == record["auc"] == 1
        # Of 24 training tiles of 12 cells, 17 would have 204.
        assert (record["training_tiles"], record["training_cells"]) == (16, 192)
        assert record["test_tiles"] == N_TILES / 4


def test_nothing_is_learned_from_the_cells_of_a_test_tile(tiles, tmp_path):
    made = []

    def find(name):
        return lambda n_clusters, seed: made.append(ByGrey(n_clusters, seed)) or made[-1]

    task = ImageLabelTask(("grey",), (0,), (2,), 10**6)
    evaluate_image_label("drawn", tiles, task, Records(tmp_path / "image_label.json"), print, find)
    for fold, system in enumerate(made):
        of_fold = tiles.unlabelled.crops[tiles.blocks[tiles.unlabelled.tile_index] == fold]
        assert not {crop.tobytes() for crop in system.seen} & {crop.tobytes() for crop in of_fold}
        assert len(system.seen) == CELLS_PER_TILE * N_TILES * 3 / 4


def test_cells_are_learned_from_with_all_others_of_their_tile(tiles, tmp_path):
    """A system that learns from which cells lie side by side would else see neighbours that are none."""
    learned = []

    class Company(ByGrey):
        def fit(self, cells):
            super().fit(cells)
            learned.append(cells.tile_index)

    task = ImageLabelTask(("grey",), (0, 1), (2,), 100)
    evaluate_image_label("drawn", tiles, task, Records(tmp_path / "image_label.json"), print, lambda _: Company)
    assert len(learned) == 8
    for index in learned:
        assert np.bincount(index, minlength=N_TILES).tolist().count(CELLS_PER_TILE) == 8 == len(set(index))
    assert set(learned[0]) != set(learned[4])


def test_limit_that_no_tile_fits_into_is_refused(tiles, tmp_path):
    task = ImageLabelTask(("grey",), (0,), (2,), CELLS_PER_TILE - 1)
    with pytest.raises(DataError, match="has 12 cells, but a system may learn from 11 at most"):
        evaluate_image_label("drawn", tiles, task, Records(tmp_path / "i.json"), print, lambda _: ByGrey)


def test_whole_tiles_are_recorded_beside_them(tiles, tmp_path):
    records = Records(tmp_path / "image_label.json")
    features = POSITIVE[:, None] + np.random.default_rng(0).normal(0, 0.1, (N_TILES, 7))
    evaluate_whole_tiles("drawn", features, tiles, records)
    assert [record["fold"] for record in records.read()] == [0, 1, 2, 3]
    assert {record["auc"] for record in records.read()} == {1.0}
    assert {record["dimensions"] for record in records.read()} == {7}


def test_bundle_is_scored_by_each_descriptor_and_by_the_number_of_cells_alone(tmp_path):
    """Here only the measurements tell the labels apart."""
    random = np.random.default_rng(0)
    found = BundleTiles(
        n_cells=np.full(N_TILES, 90.0),
        proportions=np.full((N_TILES, 5), 0.2),
        medians=POSITIVE[:, None] + random.normal(0, 0.05, (N_TILES, 4)),
    )
    blocks = split_into_blocks(np.tile(np.arange(N_TILES // 2), 2), POSITIVE)
    records = Records(tmp_path / "image_label.json")
    evaluate_bundle("drawn", found, POSITIVE, blocks, records)
    scores = {}
    for record in records.read():
        scores.setdefault((record["head"], record.get("n_clusters"), record["dimensions"]), set()).add(record["auc"])
    assert scores == {(N_CELLS, None, 1): {0.5}, (SVM, 5, 5): {0.5}, (SVM_MEASUREMENTS, 5, 9): {1.0}}


def test_bundle_counts_the_cells_of_enlarged_tiles_and_measures_them(fake_bundle, tmp_path):
    centres = grid_of_centres() / 2
    half = [draw_tile(some, shape=(100, 120), radius=5) for some in (centres, centres[:7], np.zeros((0, 2)))]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, pixels in zip(paths, half, strict=True):
        path.write_bytes(encoded(pixels))
    found = analyse_labelled(paths, fake_bundle)
    assert found.n_cells.tolist() == [len(centres), 7, 0]
    np.testing.assert_allclose(found.proportions.sum(axis=1), [1, 1, 0])
    # Discs with a radius of 10 px once they are enlarged, at 0.25 µm per px; a tile without cells is like the others.
    areas = found.medians[:, 0]
    assert areas[:2] == pytest.approx(np.pi * 2.5**2, rel=0.25)
    assert areas[2] == pytest.approx(areas[:2].mean())


def test_tile_without_cells_is_all_zeros():
    cells = UnlabelledCells(np.zeros((3, 32, 32, 3), np.uint8), np.array([0, 0, 2]), np.zeros((3, 2)))
    values = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    np.testing.assert_array_equal(mean_by_tile(values, cells, 3), [[0.5, 0.5], [0, 0], [0, 1]])


def test_scores_of_four_tiles_are_those_worked_out_by_hand():
    figures = score(np.array([1, 1, 0, 0]), np.array([2.0, -1.0, 1.0, -3.0]))
    # One of two called positive is, one of two positives is found; 3 of 4 pairs are in order.
    assert figures == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "auc": 0.75}


@pytest.mark.parametrize("head", [by_svm, by_kmeans, by_logistic_regression])
def test_heads_know_no_label_of_a_test_tile(head):
    random = np.random.default_rng(0)
    positive = np.tile([0, 1], 20)
    blocks = np.repeat(np.arange(4), 10)
    features = positive[:, None] + random.normal(0, 0.2, (40, 3))
    right = head(TileFold(features, positive, blocks, 2, 0))
    swapped = np.where(blocks == 2, 1 - positive, positive)
    assert right["auc"] == 1
    assert head(TileFold(features, swapped, blocks, 2, 0))["auc"] == 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("head", [by_svm, by_kmeans, by_logistic_regression])
def test_tiles_that_are_all_alike_are_labelled_by_chance(head):
    """As those of a clusterer that puts all cells into one cluster are."""
    fold = TileFold(np.ones((40, 3)), np.tile([0, 1], 20), np.repeat(np.arange(4), 10), 2, 0)
    assert head(fold)["auc"] == 0.5
