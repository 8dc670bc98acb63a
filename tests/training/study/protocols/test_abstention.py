import numpy as np
import pytest

from app.pipeline.bundle.load import load_bundle
from training.study.protocols import abstention as module
from training.study.protocols.abstention import BAGS, evaluate_abstention
from training.study.protocols.degrade import blur


@pytest.fixture(scope="module")
def rows(shipped_bundle, tmp_path_factory):
    """Of the sample tile in the place of real ones: as it is, a little and very blurred, and white."""
    directory = tmp_path_factory.mktemp("data")
    (directory / "tiles").mkdir()
    (directory / "tiles" / "sample.png").write_bytes((shipped_bundle / "sample.png").read_bytes())
    shifts = {
        "none": (lambda pixels: pixels,),
        "blur": (blur(0.3), blur(2), blur(4)),
        "white": (lambda pixels: np.full_like(pixels, 255),),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHIFTS", shifts)
        found = evaluate_abstention(directory, load_bundle(shipped_bundle, threads=1))
    return {(row["shift"], row["strength"]): row for row in found}


def test_tile_as_it_is_gets_labels_that_are_mostly_right(rows):
    row = rows["none", "–"]
    assert row["bags"] == 2 * BAGS
    assert row["abstained"] < 0.5
    assert row["error"] <= row["error_if_forced"]


def test_blurred_tile_gets_none_and_the_reason_is_counted(rows):
    row = rows["blur", "strong"]
    assert row["abstained"] == 1
    assert row["error"] is None
    assert row["error_if_forced"] is not None
    assert row["reasons"]["blurred"] == 1


def test_tile_without_cells_is_withheld_and_has_no_score_to_force(rows):
    row = rows["white", "–"]
    assert (row["abstained"], row["error"], row["error_if_forced"]) == (1, None, None)
    assert row["reasons"] == {"no cells": 1}


def test_no_flag_withholds_a_label_where_nothing_was_shifted(rows):
    assert not set(rows["none", "–"]["reasons"]) - {"score"}
