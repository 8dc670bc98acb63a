"""Corrections of types: how they are read, what they change, and what is refused."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pipeline.cell_types import NO_TYPE, CellTypes, myeloid_erythroid, summarise_types
from app.pipeline.corrections import MAX_CORRECTIONS, Corrections, cells_sha256, check_cells, correct, read_corrections
from app.pipeline.errors import InvalidCorrections, OtherCells
from tests.cell_classifiers import taught

DARK, PALE = "dark small", "pale large"


@pytest.fixture
def knowing(manifest):
    """The manifest of a bundle with two types."""
    return manifest.model_copy(update={"cell_classifier": taught()})


def typed(types) -> CellTypes:
    types = np.asarray(types, np.int64)
    return CellTypes(np.full((len(types), 2), 0.5), types)


def corrected(found, manifest, outlier=None, **cells):
    given = Corrections(read_corrections(json.dumps({name.replace("_", " "): of for name, of in cells.items()})), "A")
    return correct(found, given, np.zeros(len(found.types), bool) if outlier is None else outlier, manifest)


def shares(found):
    return summarise_types(found, np.ones(len(found.types), bool), taught())


def test_order_of_types_and_cells_does_not_matter():
    given = {DARK: [7, 2], PALE: [3]}
    ways = [
        json.dumps({name: list(cells) for name, cells in pairs})
        for pairs in itertools.permutations(given.items())
        for cells_of_dark in itertools.permutations(given[DARK])
        for pairs in [[(name, cells_of_dark if name == DARK else cells) for name, cells in pairs]]
    ]
    assert len(set(ways)) == 4
    assert {json.dumps(read_corrections(way)) for way in ways} == {json.dumps({DARK: [2, 7], PALE: [3]})}


def test_type_without_cells_is_no_correction():
    assert read_corrections('{"dark small": []}') == {}
    assert read_corrections("{}") == {}
    assert read_corrections("\ufeff{}") == {}, "as some editors write it"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON: Expecting value at character 0"),
        ("[[0]]", "found a list"),
        ("[" * 100_000, "cannot be read"),
        ('{"a": [1' + "0" * 5000 + "]}", "cannot be read"),
        ("null", "found null"),
        ("NaN", "found NaN"),
        ('{"a": 3}', "'a' has 3 in place of a list"),
        ('{"a": {"b": 1}}', "'a' has an object in place of a list"),
        ('{"a": [true]}', "holds true"),
        ('{"a": [-1]}', "holds -1"),
        ('{"a": [1.0]}', "holds 1.0"),
        ('{"a": ["1"]}', "holds the text '1'"),
        ('{"a": [[]]}', "holds a list"),
        ('{"a": [1e999]}', "holds Infinity"),
        ('{"a": [1], "a": [2]}', "'a' twice"),
        ('{"a": [1, 1]}', "cell 1 twice 'a'"),
        ('{"a": [1], "b": [1]}', "cell 1 both 'a' and 'b'"),
        (json.dumps({"a": list(range(MAX_CORRECTIONS + 1))}), "at most 5000 cells of a tile, found 5001"),
    ],
)
def test_what_is_no_correction_is_refused_in_words(text, words):
    with pytest.raises(InvalidCorrections) as refused:
        read_corrections(text)
    assert words in str(refused.value)


@given(
    st.text()
    | st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists).map(json.dumps)
)
def test_whatever_is_sent_is_read_or_refused(text):
    try:
        found = read_corrections(text)
    except InvalidCorrections as refused:
        str(refused).encode()  # A problem document is UTF-8.
    else:
        assert isinstance(found, dict)


def test_unknown_cell_unknown_type_and_outlier_are_refused(knowing, manifest):
    found = typed([0, 1, NO_TYPE])
    outlier = np.array([False, False, True])
    for cells, words in (
        ({"dark_small": [3]}, "no cell 3 in this tile: its cells are 0 to 2"),
        ({"dark_small": [2]}, "Cell 2 is an outlier"),
        ({"blast": [0]}, "no type 'blast'; its types are 'dark small', 'pale large'"),
    ):
        with pytest.raises(InvalidCorrections, match=words):
            corrected(found, knowing, outlier, **cells)
    with pytest.raises(InvalidCorrections, match="no cell was found in it"):
        corrected(typed([]), knowing, dark_small=[0])
    with pytest.raises(InvalidCorrections, match="knows no types"):
        corrected(found, manifest, dark_small=[0])
    with pytest.raises(InvalidCorrections) as refused:
        corrected(found, knowing, **{"\ud800": [0]})
    str(refused.value).encode()


def test_corrections_of_other_cells_are_refused(knowing):
    boxes = np.array([[0, 0, 9, 9], [5, 5, 20, 12]], np.int64)
    found = cells_sha256("a" * 64, "b" * 64, boxes)
    assert found == cells_sha256("a" * 64, "b" * 64, boxes.astype(np.int32)), "whatever the machine counts with"
    others = {
        cells_sha256("b" * 64, "b" * 64, boxes),
        cells_sha256("a" * 64, "a" * 64, boxes),
        cells_sha256("a" * 64, "b" * 64, boxes[:1]),
        cells_sha256("a" * 64, "b" * 64, boxes[::-1]),
    }
    assert len(others - {found}) == 4
    for made_on in (found, None):
        check_cells(Corrections({DARK: (1,)}, "A", made_on), found, knowing)
    for made_on in others:
        with pytest.raises(OtherCells, match="cell 1 may be another cell now"):
            check_cells(Corrections({DARK: (1,)}, "A", made_on), found, knowing)


def test_corrected_cell_has_its_type_for_sure_and_others_stay(knowing):
    found = typed([0, 1, NO_TYPE, 1])
    now = corrected(found, knowing, dark_small=[1], pale_large=[2])
    assert now.types.tolist() == [0, 0, 1, 1]
    assert now.probabilities.tolist() == [[0.5, 0.5], [1, 0], [0, 1], [0.5, 0.5]]
    assert now.corrected.tolist() == [False, True, True, False]
    assert found.types.tolist() == [0, 1, NO_TYPE, 1], "the cells that were found are left alone"


def test_counts_and_ratio_follow_the_corrections(knowing):
    found = typed([0] * 6 + [1] * 3 + [NO_TYPE])
    now = shares(corrected(found, knowing, dark_small=[6], pale_large=[0, 9]))
    assert (now.counts.tolist(), now.n_without_type) == ([6, 4], 0)
    assert now.proportions.tolist() == [0.6, 0.4]
    assert myeloid_erythroid(now.counts, taught().types) == pytest.approx(4 / 6)


def test_confirming_a_type_changes_nothing_but_how_sure_it_is(knowing):
    found = typed([0] * 120 + [1] * 80)
    before = shares(found)
    some = shares(corrected(found, knowing, dark_small=range_of(60), pale_large=range_of(40, 120)))
    every = shares(corrected(found, knowing, dark_small=range_of(120), pale_large=range_of(80, 120)))
    for after in (some, every):
        assert (after.counts.tolist(), after.n_without_type) == (before.counts.tolist(), before.n_without_type)
        assert after.proportions.tolist() == before.proportions.tolist()
    widths = [np.ptp(one.intervals, axis=1) for one in (before, some, every)]
    assert (widths[0] > widths[1]).all()
    assert (widths[1] > widths[2]).all()


def test_interval_of_corrected_cells_alone_is_that_of_their_sampling(knowing):
    found = corrected(typed([1] * 400), knowing, dark_small=range_of(300), pale_large=range_of(100, 300))
    low, high = shares(found).intervals[0]
    # About ±1.96 √(.75 × .25 / 400), whatever the classifier confuses.
    assert (low, high) == (pytest.approx(0.7075, abs=0.006), pytest.approx(0.7925, abs=0.006))


def range_of(n, start=0):
    return list(range(start, start + n))
