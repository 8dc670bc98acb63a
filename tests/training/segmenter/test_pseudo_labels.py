import numpy as np
import pytest
from scipy import ndimage

from app.pipeline.presets import DEFAULT, LEARNED
from app.pipeline.stain.unmix import unmix
from tests.drawing import disc, discs, mix
from training.segmenter.pseudo_labels import (
    LOOSE,
    SURE,
    agreement_on_nuclei,
    at_half_density,
    labels_of_segmentation,
    labels_of_votes,
    make_labels,
    relative_depth,
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


@pytest.mark.parametrize("error_px", [-2, 0, 3])
def test_an_outline_moves_to_where_the_density_is_half_way(error_px):
    """Two nuclei of different densities, found too small or too large."""
    shape, centres, densities = (80, 120), ((30, 40), (85, 40)), (100, 60)
    density = np.full(shape, 20, np.float32)
    for centre, value in zip(centres, densities, strict=True):
        density[disc(shape, centre, 12)] = value
    density = ndimage.gaussian_filter(density, 1)
    found = np.zeros(shape, np.int32)
    for label, centre in enumerate(centres, start=1):
        found[disc(shape, centre, 12 + error_px)] = label
    drawn = at_half_density(found, density)
    for label, centre in enumerate(centres, start=1):
        assert (drawn == label).sum() == pytest.approx(disc(shape, centre, 12).sum(), rel=0.03)


def test_an_outline_does_not_move_into_another_nucleus():
    label_image = two_squares()
    label_image[label_image == 2] = 0
    label_image[:, 6:] = 2
    drawn = at_half_density(np.pad(label_image, 20), np.pad(np.full(label_image.shape, 50, np.float32), 20))
    assert (drawn[20:-20, 20:26] != 2).all()
    assert (drawn[20:-20, 26:-20] != 1).all()


def test_a_nucleus_that_fills_the_tile_keeps_its_outline():
    label_image = np.ones((20, 20), np.int32)
    assert (at_half_density(label_image, np.full((20, 20), 50, np.float32)) == 1).all()


def test_the_teacher_keeps_its_numbers_when_preset_default_changes():
    """A network that is trained tomorrow learns from the same pseudo-labels; decision 0024 has its figures."""
    levels = [0.4, 0.49, 0.6, 0.74, 0.91, 1.12, 1.38, 1.7, 2.1, 2.57]
    shapes = {
        "smoothing_px": 2.0,
        "nuclear_density_range": [20.0, 60.0],
        "closing_px": 1,
        "max_hole_px": 800,
        "opening_px": 5,
        "min_area_px": 40,
        "max_area_px": 6000,
        "waist_solidity": 0.9,
        "min_depth_px": 3.0,
        "peak_distance_px": 4,
        "outline": None,
    }
    score = {
        "small_area_px": 470.0,
        "small": 4.3,
        "large_area_px": 2600.0,
        "large": 3.1,
        "shape": 24.7,
        "edge": 2.03,
        "density": 5.5,
    }
    for params, bias, of_teacher in ((SURE, 6.1, levels), (LOOSE, 8.6, [0.25, 0.32, *levels])):
        numbers = params.model_dump(mode="json", exclude={"preset", "engine", "stain"})
        assert numbers == {**shapes, "levels": of_teacher, "score": {"bias": bias, **score}}


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


def test_agreement_is_an_iou_weighed_by_votes():
    label_image = np.zeros((20, 20), np.int32)
    label_image[5, 5:9] = 1
    label_image[15, 5:9] = 2
    votes = np.zeros((20, 20), np.float32)
    votes[5, 5:9] = 1
    votes[15, 5:9] = 0.5
    votes[16, 5:7] = 0.5
    votes[15, 17] = 1
    # Of the second nucleus 4 · ½ of the votes lie in its 4 px, 2 · ½ just outside; a far one is not held against it.
    np.testing.assert_allclose(agreement_on_nuclei(label_image, votes), [1, 2 / 5])


def maps_of(nuclei, probability):
    nucleus = np.zeros(nuclei[0].shape, np.float32)
    depth = np.zeros_like(nucleus)
    for drawn, sure in zip(nuclei, probability, strict=True):
        nucleus[drawn] = sure
        depth = np.maximum(depth, relative_depth(drawn.astype(np.int32)))
    return np.stack([nucleus, depth])


CENTRES = ((15, 15), (45, 15), (15, 45), (45, 45))


def first_labels(*seen):
    """What the segmentation gave: nothing but uncertain discs at some of the centres."""
    uncertain = discs((60, 60), [CENTRES[i] for i in seen], 8) if seen else np.zeros((60, 60), bool)
    return make_labels(np.zeros((60, 60), np.int32), uncertain, 1)


def doubtful_views():
    """Four nuclei in three views, all with a mean above one half; the views disagree on the last two."""
    nuclei = [disc((60, 60), centre, 8) for centre in CENTRES]
    return np.stack([maps_of(nuclei, (0.6, 0.6, doubt, doubt)) for doubt in (0.9, 0.2, 0.6)])


def test_the_nuclei_that_views_agree_on_best_are_sure_whatever_their_probability():
    labels = labels_of_votes(doubtful_views(), first_labels(), kept_share=0.5, params=LEARNED)
    assert [bool(labels.nucleus[y, x]) for x, y in CENTRES] == [True, True, False, False]
    assert [bool(labels.depth[y, x]) for x, y in CENTRES] == [True, True, False, False]
    everything = labels_of_votes(doubtful_views(), first_labels(), kept_share=1, params=LEARNED)
    assert all(everything.nucleus[y, x] for x, y in CENTRES)


def test_a_doubtful_nucleus_is_uncertain_only_where_the_segmentation_sees_something():
    labels = labels_of_votes(doubtful_views(), first_labels(0, 2), kept_share=0.5, params=LEARNED)
    assert labels.nucleus[45, 15] == labels.nucleus[45, 45] == 0
    assert labels.uncertain[45, 15] == 255
    assert labels.uncertain[45, 45] == 0
    assert labels.uncertain[30, 30] == labels.nucleus[30, 30] == 0


def test_a_tile_in_which_nothing_is_found_is_sure_to_be_empty():
    labels = labels_of_votes(np.zeros((8, 2, 60, 60), np.float32), first_labels(1), kept_share=0.5)
    assert not labels.stacked().any()
