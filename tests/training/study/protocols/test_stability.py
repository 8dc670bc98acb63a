import numpy as np
import pytest

from tests.training.study.drawn_cells import ByGrey, unlabelled
from training.errors import DataError
from training.study.protocols.stability import StabilityTask, compare, describe_fit, evaluate_stability
from training.study.records import Records

# Three clusters of two cells; in the other clustering they have other numbers, and the last cell is elsewhere.
ONE, OTHER = np.array([0, 0, 1, 1, 2, 2]), np.array([2, 2, 0, 0, 1, 0])


class Turning(ByGrey):
    """Puts a cell into the cluster that its first pixel names, wherever that pixel is after a turn."""

    def clusters(self, crops):
        return crops[:, 0, 0, 0].astype(np.int64)


def test_clusters_are_matched_whatever_their_numbers():
    assert compare(ONE, (ONE + 1) % 3) == {"ari": 1.0, "matched": 1.0}
    found = compare(ONE, OTHER)
    assert found["matched"] == pytest.approx(5 / 6)
    # Of 15 pairs of cells, 3 are in one cluster here, 4 there, and 2 in both; by chance 3 · 4 / 15 = .8 would be.
    assert found["ari"] == pytest.approx((2 - 0.8) / (3.5 - 0.8))


def test_fit_is_described_by_turns_and_by_its_smallest_cluster():
    cells, _ = unlabelled(1)
    crops = np.zeros_like(cells.crops)
    # All four corners of the first nine cells are alike; a turn by 90°, 180° or 270° moves the 1 of three others away.
    crops[:9, ::31, ::31] = 2
    crops[9:, 0, 0] = 1
    cells = type(cells)(crops, cells.tile_index, cells.centroids)
    fitted = Turning()
    found = describe_fit(fitted, cells, fitted.clusters(crops), 3)
    assert found["rotation_agreement"] == pytest.approx(9 / 12)
    assert found["smallest_share"] == 0
    assert describe_fit(fitted, cells, np.array([0] * 9 + [1] * 3), 2)["smallest_share"] == 3 / 12


def test_every_number_is_fitted_with_every_seed_and_only_once(tmp_path):
    made, cells = [], unlabelled()[0]
    records = Records(tmp_path / "stability.json")

    def create(n_clusters, seed):
        made.append((n_clusters, seed))
        return ByGrey()

    for _ in range(2):
        evaluate_stability({"drawn": cells}, StabilityTask("c", (0, 1, 2), (2, 3)), create, records, print)
    assert made == [(k, seed) for k in (2, 3) for seed in range(3)]
    of_three = [record for record in records.read() if record["n_clusters"] == 3]
    pairs = [record for record in of_three if "other_seed" in record]
    assert [(pair["seed"], pair["other_seed"], pair["ari"]) for pair in pairs] == [(0, 1, 1), (0, 2, 1), (1, 2, 1)]
    assert [record["smallest_share"] for record in of_three if record not in pairs] == [0, 0, 0]


def test_more_clusters_than_cells_are_refused_before_anything_is_fitted(tmp_path):
    sets = {"drawn": unlabelled()[0], "small": unlabelled(1)[0]}
    with pytest.raises(DataError, match=r"^small has 12 cells for 13 clusters; give more cells, or fewer clusters\.$"):
        evaluate_stability(sets, StabilityTask("c", (0, 1), (2, 13)), None, Records(tmp_path / "none.json"), print)
    assert not (tmp_path / "none.json").exists()
