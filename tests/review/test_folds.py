"""Folds: groups stay together, and types are spread evenly."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.review.folds import FOLDS, folds_of_cells, folds_of_groups, some_of

CELLS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=80)


@given(CELLS)
def test_a_group_is_never_on_both_sides(cells):
    groups, types = np.array(cells).T
    folds = folds_of_groups(groups, types, 4)
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1
    assert np.unique(folds).tolist() == list(range(min(FOLDS, len(np.unique(groups)))))


@given(CELLS, st.randoms())
def test_folds_do_not_depend_on_the_order_of_cells(cells, random):
    order = list(range(len(cells)))
    random.shuffle(order)
    groups, types = np.array(cells).T
    folds = folds_of_groups(groups, types, 4)
    assert folds_of_groups(groups[order], types[order], 4).tolist() == folds[order].tolist()


def test_a_rare_type_of_two_groups_is_in_two_folds():
    groups = np.repeat(np.arange(10), 20)
    types = np.zeros(200, np.int64)
    types[[3, 105]] = 1  # in groups 0 and 5
    folds = folds_of_groups(groups, types, 2)
    assert folds[3] != folds[105]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(0, 9))
def test_folds_of_cells_have_each_type_evenly(types, seed):
    types = np.array(types)
    folds = folds_of_cells(types, np.random.default_rng(seed))
    for one in np.unique(types):
        counts = np.bincount(folds[types == one], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.floats(0.01, 1))
def test_a_share_has_at_least_one_cell_of_each_type_and_lies_within_a_larger_share(types, share):
    types = np.array(types)
    some, more = (some_of(types, one, np.random.default_rng(0)) for one in (share, (1 + share) / 2))
    assert (more | ~some).all()
    for one in np.unique(types):
        assert some[types == one].sum() == max(1, np.ceil(share * (types == one).sum()))
