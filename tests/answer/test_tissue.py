"""The tissue of a tile in the answer: its shares, its cellularity, and why there is none."""

import numpy as np
import pytest

from app.pipeline.tissue.classes import CLASSES, NEITHER, NOT_STAINED
from tests.answer.rendering import analysed, as_geojson, as_json
from tests.drawing import encoded
from tests.pipeline.tissue.drawn_tissue import mixed


@pytest.fixture(scope="module")
def tile():
    drawing = mixed(0.5)
    return drawing.shares(), drawing.pixels(drawing.nuclei())


def test_answer_holds_the_shares_of_the_tile_and_its_area(tile, bundle):
    shares, pixels = tile
    result = analysed(encoded(pixels), bundle, mpp=0.5)
    tissue = as_json(result)["tissue"]
    assert [tissue[name] for name in CLASSES] == pytest.approx([shares[name] for name in CLASSES], abs=0.03)
    assert sum(tissue[name] for name in CLASSES) == pytest.approx(1, abs=1e-6)
    assert tissue["area_mm2"] == pytest.approx(0.09)
    marrow = tissue["haematopoietic"] + tissue["fat"]
    assert tissue["cellularity"] == pytest.approx(tissue["haematopoietic"] / marrow, abs=1e-6)
    assert tissue["reason"] is None
    assert as_geojson(result)["tissue"] == tissue


def test_area_is_not_known_without_a_scale(tile, bundle):
    tissue = as_json(analysed(encoded(tile[1]), bundle))["tissue"]
    assert tissue["area_mm2"] is None
    assert tissue["cellularity"] is not None


@pytest.mark.parametrize(("level", "reason"), [(255, NEITHER), (0, NEITHER), (128, NOT_STAINED)])
def test_tile_without_marrow_says_why_it_has_no_cellularity(bundle, level, reason):
    tissue = as_json(analysed(encoded(np.full((80, 90, 3), level, np.uint8)), bundle, mpp=0.25))["tissue"]
    assert (tissue["cellularity"], tissue["reason"]) == (None, reason)


def test_without_two_stains_only_the_shares_of_holes_are_known(tile, bundle):
    grey = np.repeat(tile[1].mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    tissue = as_json(analysed(encoded(grey), bundle, mpp=0.5))["tissue"]
    assert tissue["cellularity"] is None
    assert tissue["reason"] == NOT_STAINED
    assert [name for name in CLASSES if tissue[name] is None] == ["haematopoietic", "bone_and_stroma", "red_cells"]
