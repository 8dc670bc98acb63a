import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from app.pipeline.presets import PAPER
from app.pipeline.segment import segment, unmix

MATCH_PX = 10


def matches(found, dots):
    """Largest one-to-one matching of centres within MATCH_PX."""
    distances = cdist(dots, found)
    rows, columns = linear_sum_assignment(np.where(distances <= MATCH_PX, distances, 1e6))
    return int((distances[rows, columns] <= MATCH_PX).sum())


def test_matching_is_one_to_one():
    assert matches(np.array([[0.0, 0.0], [100.0, 0.0]]), np.array([[0.0, 8.0], [0.0, -8.0], [100.0, 11.0]])) == 1


@pytest.mark.slow
def test_paper_preset_finds_the_nuclei_of_the_kainz_test_tiles(real_tiles, real_dots):
    true = found = annotated = 0
    for name, tile in real_tiles.items():
        nuclei = segment(unmix(tile, PAPER.stain), PAPER)
        assert 150 <= len(nuclei) <= 600
        true += matches(nuclei.centroids, real_dots[name])
        found += len(nuclei)
        annotated += len(real_dots[name])
    f1 = 2 * true / (found + annotated)
    assert f1 >= 0.79, f"precision {true / found:.3f}, recall {true / annotated:.3f}, F1 {f1:.3f}"
