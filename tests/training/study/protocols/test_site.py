import numpy as np
import pytest

from tests.training.study.drawn_cells import CELLS_PER_TILE, ByGrey, labelled
from training.cells.unlabelled import UnlabelledCells
from training.errors import DataError
from training.study.protocols.site import SiteTask, evaluate_site, first_half
from training.study.records import Records
from training.study.typed_cells import TypedCells

TILES, PER_TILE = 4, 60


def typed():
    """Four tiles, and a fifth of five cells that is too small; half of each tile is of either type.

    The first pixel of a crop holds its tile, the second its type.
    """
    tiles = np.append(np.repeat(np.arange(TILES), PER_TILE), [TILES] * 5)
    types = np.arange(len(tiles)) % 2
    crops = np.zeros((len(tiles), 32, 32, 3), np.uint8)
    crops[:, 0, 0, 0], crops[:, 0, 1, 0] = tiles, types
    return TypedCells(UnlabelledCells(crops, tiles, np.zeros((len(tiles), 2))), types, ("a", "b"), tuple("01234"))


def knows(*places):
    """Return a describer whose features tell what the pixels of these places hold, and noise."""

    class Knows:
        def fit(self, cells):
            assert len(cells) == TILES * PER_TILE + 5

        def features(self, crops):
            noise = np.random.default_rng(0).normal(0, 0.1, (len(crops), 8))
            for place in places:
                noise[np.arange(len(crops)), crops[:, 0, place, 0] + 4 * place] += 1
            return noise.astype(np.float32)

    return lambda seed: Knows()


@pytest.mark.parametrize(
    ("places", "tile", "kind"),
    [((0,), 1, 1 / 2), ((1,), 1 / TILES, 1), ((0, 1), 1, 1), ((), 1 / TILES, 1 / 2)],
)
def test_what_features_know_is_told_and_all_else_is_chance(tmp_path, places, tile, kind):
    records = Records(tmp_path / "site.json")
    for _ in range(2):
        evaluate_site({"drawn": typed()}, SiteTask(("s",), (0,)), records, print, lambda name: knows(*places))
    (record,) = records.read()
    assert record["tile"] == pytest.approx(tile, abs=0.1)
    assert record["type"] == pytest.approx(kind, abs=0.1)
    assert (record["tiles"], record["types"], record["cells"]) == (TILES, 2, TILES * PER_TILE)


def test_half_of_each_tile_is_learned_from_and_the_draw_decides_which():
    tiles = np.repeat([3, 5], [10, 7])
    half = first_half(tiles, 0)
    assert np.bincount(tiles[half], minlength=6).tolist() == [0, 0, 0, 5, 0, 3]
    np.testing.assert_array_equal(half, first_half(tiles, 0))
    assert not np.array_equal(half, first_half(tiles, 1))


def test_tiles_without_enough_cells_are_refused_before_anything_is_learned(tmp_path):
    system = ByGrey()
    with pytest.raises(DataError, match=f"the largest of 10 has {CELLS_PER_TILE}"):
        evaluate_site(
            {"drawn": labelled()}, SiteTask(("s",), (0,)), Records(tmp_path), print, lambda name: lambda _: system
        )
    assert system.seen is None
