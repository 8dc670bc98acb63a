import cv2
import numpy as np
import pytest
from skimage.measure import label
from skimage.segmentation import watershed

from app.pipeline.nuclei.flood import disc
from app.pipeline.nuclei.objects import Objects
from app.pipeline.nuclei.run_lengths import RunLengths, encode_ranks
from app.pipeline.nuclei.split import DEPTH_SIGMA, basins, split_at_waists
from app.pipeline.presets import DEFAULT
from app.pipeline.stain.unmix import unmix
from tests.drawing import disc as drawn_disc
from tests.drawing import discs

WIDTH = 150


def objects_of(masks):
    """Objects, one for each mask, with no border: splitting needs none."""
    encoded = [encode_ranks(mask.astype(np.uint8)) for mask in masks]
    starts = np.concatenate([r.starts for r in encoded]) % masks[0].size
    lengths = np.concatenate([r.lengths for r in encoded])
    none = np.zeros(0, np.int64)
    owners = np.repeat(np.arange(len(masks)), [len(r) for r in encoded])
    return Objects(RunLengths(starts, starts + lengths), owners, none, none, np.zeros(len(masks), np.int64))


def painted(pieces, shape):
    picture = np.zeros(shape, int)
    for i in range(len(pieces)):
        picture.ravel()[pieces.rle[pieces.owners == i].places()] += i + 1
    return picture


def test_pieces_of_objects_are_those_that_each_has_by_itself():
    shape = (90, WIDTH)
    # They overlap in the tile, as objects of several levels do.
    masks = [
        discs(shape, [(30, 30), (55, 38), (82, 30)], 15),
        discs(shape, [(30, 30), (55, 38)], 13),
        discs(shape, [(120, 40), (120, 66)], 14),
        drawn_disc(shape, (100, 20), 12),
    ]
    pieces, parents = split_at_waists(objects_of(masks), WIDTH, DEFAULT)
    assert np.bincount(parents).tolist() == [3, 2, 2, 1]
    for i, mask in enumerate(masks):
        mine = painted(pieces.only(parents == i), shape)
        np.testing.assert_array_equal(mine > 0, mask)
        alone = basins(mask.astype(np.uint8), DEFAULT)
        pairs, counts = np.unique(np.column_stack([mine[mask], alone[mask]]), axis=0, return_counts=True)
        # Between two basins of one height the order of the peaks decides: of symmetrical shapes, a line of pixels.
        same = counts > 0.02 * mask.sum()
        assert pairs[same, 0].tolist() == sorted(set(pairs[:, 0]))
        assert sorted(pairs[same, 1]) == sorted(set(pairs[:, 1]))


def test_cut_lies_at_the_waist():
    mask = discs((60, WIDTH), [(40, 30), (66, 30)], 15)
    pieces, _ = split_at_waists(objects_of([mask]), WIDTH, DEFAULT)
    areas = np.bincount(pieces.owners, weights=pieces.rle.lengths)
    assert abs(areas[0] - areas[1]) <= 0.05 * areas.sum()
    # Every pixel with a neighbour of another kind is border, those along the cut too.
    picture = painted(pieces, mask.shape)
    border = np.zeros(mask.shape, bool)
    border.ravel()[pieces.border] = True
    cut = np.flatnonzero(np.diff(picture[30]))
    assert border[30, cut[1]]
    assert border[30, cut[1] + 1]
    assert not border[30, 40]


@pytest.mark.parametrize("n", [0, 40])
def test_any_number_of_objects(n):
    mask = discs((40, WIDTH), [(20, 20), (40, 20)], 11)
    pieces, parents = split_at_waists(
        objects_of([mask] * n) if n else objects_of([mask]).only(np.array([False])), WIDTH, DEFAULT
    )
    assert len(pieces) == len(parents) == 2 * n


def test_object_without_a_peak_has_no_piece():
    thin = np.zeros((40, WIDTH), bool)
    thin[20:24, 30:80] = True
    deep = drawn_disc(thin.shape, (110, 20), 12)
    pieces, parents = split_at_waists(objects_of([thin, deep]), WIDTH, DEFAULT)
    assert parents.tolist() == [1]
    np.testing.assert_array_equal(painted(pieces, thin.shape) > 0, deep)
    assert len(split_at_waists(objects_of([thin]), WIDTH, DEFAULT)[0]) == 0


def test_basins_are_those_of_a_flood_from_the_peaks(real_tile):
    haematoxylin = unmix(real_tile[:600, :600], DEFAULT.stain).haematoxylin
    mask = np.pad((haematoxylin < 110).astype(np.uint8), 5)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(3))
    depth = cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), DEPTH_SIGMA) * mask
    near = disc(DEFAULT.peak_distance_px)
    peaks = label((depth > DEFAULT.min_depth_px) & (depth >= cv2.dilate(depth, near)), connectivity=2)
    flooded = watershed(-depth, peaks, mask=mask > 0)
    ours = basins(mask, DEFAULT)
    assert flooded.max() > 50
    pairs, counts = np.unique(np.column_stack([ours[mask > 0], flooded[mask > 0]]), axis=0, return_counts=True)
    # The same basins under other numbers, but for pixels that two floods reach at one height.
    best = [counts[pairs[:, 1] == i].max() for i in range(flooded.max() + 1) if (pairs[:, 1] == i).any()]
    assert sum(best) > 0.99 * counts.sum()
    assert ours.max() == flooded.max()
