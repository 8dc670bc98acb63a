import numpy as np
import pytest

from training.study.baselines.descriptor_cache import MOST_SETS, cached_descriptor


@pytest.fixture
def asked():
    return []


@pytest.fixture
def describe(asked):
    """The mean of each crop, cached; `asked` grows when it is worked out."""

    @cached_descriptor
    def mean(crops):
        asked.append(len(crops))
        return crops.reshape(len(crops), -1).mean(axis=1, keepdims=True).astype(np.float32)

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


def test_only_the_last_sets_are_kept(describe, asked):
    for value in range(MOST_SETS + 1):
        describe(crops_of(value))
    describe(crops_of(MOST_SETS))
    assert len(asked) == MOST_SETS + 1
    describe(crops_of(0))
    assert len(asked) == MOST_SETS + 2


def test_what_is_kept_cannot_be_changed(describe):
    with pytest.raises(ValueError, match="read-only"):
        describe(crops_of(1))[0] = 5
