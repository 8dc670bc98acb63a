from datetime import UTC, datetime, timedelta

import pytest

from app.pipeline.errors import InvalidParameter
from app.review.names import (
    SUGGESTIONS,
    CellName,
    NamedType,
    agreements,
    check_types,
    checked_type,
    disagreed,
    kappa,
    majority,
    unused_color,
)

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def named(*given):
    """Names in the order in which they were given: (cell, reviewer, type)."""
    return [CellName(*one, NOON + timedelta(seconds=i)) for i, one in enumerate(given)]


def test_most_reviewers_decide_and_the_last_one_where_they_tie():
    names = named(("a", "Ann", "x"), ("a", "Bo", "y"), ("a", "Cy", "x"), ("b", "Ann", "x"), ("b", "Bo", "y"))
    assert majority(names) == {"a": "x", "b": "y"}
    assert majority(list(reversed(names))) == {"a": "x", "b": "y"}
    assert disagreed(names) == {"a", "b"}


def test_kappa_of_a_textbook():
    """Two readers of 50 grant proposals: 20 times both yes, 15 times both no (κ = 0.4)."""
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert kappa(pairs) == pytest.approx(0.4)


def test_kappa_of_full_agreement_of_opposites_and_of_one_type():
    assert kappa([("x", "x"), ("y", "y")]) == 1
    assert kappa([("x", "y"), ("y", "x")]) == -1
    assert kappa([("x", "x"), ("x", "x")]) is None
    assert kappa([]) is None


def test_agreement_is_that_of_cells_which_both_have_named():
    names = named(("a", "Bo", "x"), ("a", "Ann", "x"), ("b", "Ann", "y"), ("c", "Cy", "x"), ("b", "Bo", "x"))
    (found,) = agreements(names)
    assert (found.reviewers, found.n_cells, found.n_same) == (("Ann", "Bo"), 2, 1)


def test_names_are_those_that_qupath_would_read():
    assert checked_type("  Tumor :Positive:") == "Tumor: Positive"
    for wrong in ("", ":", "Ignore*", "+1", "outlier", "Cluster 12", "No Type", "a\tb", "x" * 61):
        with pytest.raises(InvalidParameter):
            checked_type(wrong)


def test_types_differ_by_more_than_capitals_and_are_not_too_many():
    with pytest.raises(InvalidParameter, match="more than once"):
        check_types([NamedType("Blast", "#000000"), NamedType("BLAST", "#111111")])
    with pytest.raises(InvalidParameter, match="at most 32"):
        check_types([NamedType(str(i), "#000000") for i in range(33)])
    check_types(SUGGESTIONS)


def test_colours_repeat_only_when_all_are_used():
    types = []
    for i in range(18):
        types.append(NamedType(str(i), unused_color(types)))
    assert len({one.color for one in types}) == 18
    assert unused_color(types) == types[0].color
