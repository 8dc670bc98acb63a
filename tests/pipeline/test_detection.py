import pytest

from training.evaluate import evaluate_detection


@pytest.mark.slow
def test_paper_preset_finds_the_nuclei_of_the_kainz_test_tiles(bm_graz):
    scores = evaluate_detection(bm_graz)["paper"]["test"]
    assert scores["truth"] == 1052
    assert 3 * 150 <= scores["found"] <= 3 * 600
    assert scores["f1"] >= 0.79
