import numpy as np
import pytest

from app.pipeline.presets import DEFAULT
from app.pipeline.stain.unmix import unmix
from tests.drawing import disc, discs, mix
from training.segmenter.pseudo_labels import (
    labels_of_segmentation,
    labels_of_views,
    make_labels,
    relative_depth,
    solidities,
)

NOTHING = np.zeros((8, 12), bool)


def two_squares():
    """Two touching nuclei of 6 × 5 px."""
    label_image = np.zeros((8, 12), np.int32)
    label_image[1:7, 1:6] = 1
    label_image[1:7, 6:11] = 2
    return label_image


def test_the_strip_between_touching_nuclei_is_background():
    nucleus = make_labels(two_squares(), NOTHING, 1).nucleus
    # Columns 5 and 6 touch, and 4 and 7 are one pixel away from them.
    assert nucleus[3].tolist() == [0, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 0]
    assert (nucleus[[0, 7]] == 0).all()


def test_a_nucleus_that_touches_none_is_whole():
    label_image = two_squares()
    label_image[label_image == 2] = 0
    assert (make_labels(label_image, NOTHING, 1).nucleus == 255 * label_image).all()


def test_depth_is_relative_to_the_nucleus():
    small, large = disc((60, 90), (15, 30), 6), disc((60, 90), (60, 30), 24)
    depth = relative_depth(small + 2 * large.astype(np.int32))
    assert depth[30, 15] == depth[30, 60] == 1
    # Half way from the centre to the edge.
    assert depth[30, 18] == pytest.approx(0.5, abs=0.1)
    assert depth[30, 72] == pytest.approx(0.5, abs=0.1)
    assert depth[~(small | large)].max() == 0


def test_labels_are_reduced_by_area():
    label_image = np.zeros((4, 4), np.int32)
    label_image[0, 0] = label_image[2:, 2:] = 1
    labels = make_labels(label_image, label_image == 0, 2)
    assert labels.nucleus.tolist() == [[64, 0], [0, 255]]
    assert labels.uncertain.tolist() == [[191, 255], [255, 0]]


def test_what_the_loose_setting_adds_is_uncertain():
    shape = (200, 240)
    dark = [(60, 60), (160, 60), (60, 140)]
    pale = [(160, 140)]
    random = np.random.default_rng(0)
    haematoxylin = 85 * discs(shape, dark, 12) + 28 * discs(shape, pale, 12) + random.normal(2, 1, shape)
    labels = labels_of_segmentation(unmix(mix(haematoxylin, random.normal(28, 2, shape)), DEFAULT.stain), 2)
    for x, y in dark:
        assert labels.nucleus[y // 2, x // 2] == 255
        assert labels.depth[y // 2, x // 2] > 200
        assert labels.uncertain[y // 2, x // 2] == 0
    assert labels.nucleus[70, 80] == 0
    assert labels.uncertain[70, 80] == 255
    assert labels.nucleus[10, 10] == labels.uncertain[10, 10] == 0


def maps_of(nuclei, probability):
    nucleus = np.zeros(nuclei[0].shape, np.float32)
    depth = np.zeros_like(nucleus)
    for drawn, sure in zip(nuclei, probability, strict=True):
        nucleus[drawn] = sure
        depth = np.maximum(depth, relative_depth(drawn.astype(np.int32)))
    return np.stack([nucleus, depth])


CENTRES = ((15, 15), (45, 15), (15, 45), (45, 45))


def views(*probabilities):
    """Three equal views of four nuclei, of each of which the network is sure to another degree."""
    return np.stack([maps_of([disc((60, 60), centre, 8) for centre in CENTRES], probabilities)] * 3)


def test_what_the_network_sees_unsurely_is_a_nucleus_of_the_next_round():
    labels = labels_of_views(views(0.9, 0.6, 0.35, 0.05))
    assert [bool(labels.nucleus[y, x]) for x, y in CENTRES] == [True, True, True, False]
    # The outline of an unsure nucleus is that of a sure one.
    areas = [(labels.nucleus[y - 12 : y + 12, x - 12 : x + 12] > 0).sum() for x, y in CENTRES[:3]]
    assert areas == [disc((60, 60), CENTRES[0], 8).sum()] * 3


def test_what_the_network_hardly_sees_is_uncertain():
    labels = labels_of_views(views(0.9, 0.9, 0.9, 0.25))
    (x, y) = CENTRES[3]
    assert (labels.nucleus[y, x], labels.uncertain[y, x]) == (0, 255)
    assert labels.uncertain[30, 30] == 0


def test_a_tile_in_which_nothing_is_seen_has_no_nucleus():
    labels = labels_of_views(np.zeros((8, 2, 60, 60), np.float32))
    assert not labels.stacked().any()


def test_what_is_as_dense_as_nuclei_is_uncertain_though_it_is_no_nucleus():
    """A band across the tile is too large for a nucleus, and may be a crowd of them."""
    shape = (200, 240)
    random = np.random.default_rng(0)
    haematoxylin = 85 * discs(shape, [(60, 40), (160, 40), (110, 40)], 12) + random.normal(2, 1, shape)
    haematoxylin[110:180] += 85
    labels = labels_of_segmentation(unmix(mix(haematoxylin, random.normal(28, 2, shape)), DEFAULT.stain), 2)
    assert labels.nucleus[20, 30] == 255
    assert (labels.nucleus[60:85].max(), labels.uncertain[60:85].min()) == (0, 255)
    assert labels.uncertain[5, 5] == 0


def test_solidity_is_the_filled_share_of_the_convex_hull():
    label_image = np.zeros((60, 60), np.int32)
    label_image[5:15, 5:15] = 1
    # Two squares that touch at a corner: together 200 px in a hull of 300 px.
    label_image[30:40, 30:40] = label_image[40:50, 40:50] = 3
    np.testing.assert_allclose(solidities(label_image), [1, 1, 2 / 3])


def test_only_an_object_with_a_waist_may_be_several_nuclei():
    joined = discs((60, 90), [(20, 30), (36, 30)], 9)
    alone = disc((60, 90), (70, 30), 9)
    undivided = make_labels(joined + 2 * alone.astype(np.int32), np.zeros(alone.shape, bool), 1).undivided
    np.testing.assert_array_equal(undivided > 0, joined > 0)


def test_a_network_that_knows_little_does_not_take_the_tile_for_a_nucleus():
    doubtful = views(0.8, 0.8, 0.8, 0.8)
    doubtful[:, 0] = np.maximum(doubtful[:, 0], 0.45)
    labels = labels_of_views(doubtful)
    assert (labels.nucleus > 0).sum() == 4 * disc((60, 60), CENTRES[0], 8).sum()
