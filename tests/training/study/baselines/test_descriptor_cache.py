import numpy as np
import pytest

from training.study.baselines.descriptor_cache import cached_descriptor


@pytest.fixture
def asked():
    return []


@pytest.fixture
def describe(asked):
    """The mean of each crop, cached; `asked` grows when it is worked out."""

    @cached_descriptor
    def mean(crops):
        asked.append(len(crops))
        return crops.mean(axis=(1, 2, 3))[:, None].astype(np.float32)

    return mean


def crops_of(*values):
    return np.stack([np.full((32, 32, 3), value, np.uint8) for value in values])


def test_the_same_crops_are_described_once(describe, asked):
    first = describe(crops_of(1, 2))
    assert np.array_equal(describe(crops_of(1, 2)), first)
    assert asked == [2]


def test_other_crops_get_their_own_features(describe):
    assert describe(crops_of(1, 2)).tolist() == [[1], [2]]
    assert describe(crops_of(2, 1)).tolist() == [[2], [1]]
    assert describe(crops_of(1)).tolist() == [[1]]


def test_only_crops_that_are_new_are_described(describe, asked):
    describe(crops_of(1, 2))
    assert describe(crops_of(2, 3, 3, 1)).tolist() == [[2], [3], [3], [1]]
    assert asked == [2, 1]


def test_no_crops_have_no_features(describe):
    assert describe(np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 1)


def test_a_caller_cannot_change_what_is_kept(describe):
    describe(crops_of(1))[0] = 5
    assert describe(crops_of(1)).tolist() == [[1]]
