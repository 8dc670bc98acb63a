"""The section on naming by groups, of records with known numbers."""

import pytest

from tests.training.study.report.test_features import ABOUT
from training.study.report import SECTIONS

SIZES = {"training_cells": 96, "test_cells": 24, "dimensions": 188, "seed": 0, "full_f1": 0.7, "full_macro_f1": 0.6}


def named(system, way, *to_f1, **figures):
    curve = {"f1_5": 0.3, "f1_400": 0.65, "macro_f1_5": 0.2, "macro_f1_400": 0.5, "cells_5": 40, "cells_400": 900}
    return [
        {
            **ABOUT,
            **SIZES,
            **curve,
            **figures,
            "system": system,
            "way": way,
            "split": split,
            **({} if number is None else {"actions_to_f1": number, "cells_to_f1": 4 * number}),
        }
        for split, number in enumerate(to_f1)
    ]


def rows(records, heading):
    text = SECTIONS["teach"](records)
    lines = text[text.index(heading) :].splitlines()[2:]
    return lines[2 : lines.index("")]


def test_what_it_takes_is_the_median_over_splits_and_the_ratio_is_that_of_the_medians():
    records = [
        *named("mf", "one-by-one", 100, 300, 200),
        *named("mf", "groups", 20, 40, 30),
        *named("mf", "doubtful-first", 100, None, None),
        *named("ours", "groups", None, None, 30),
    ]
    assert rows(records, "### `crchisto`, 90 % of the F ") == [
        "| MF | by groups | 30 (20 to 40) | 120 (80 to 160) | – |",
        "| MF | one by one | 200 (100 to 300) | 800 (400 to 1200) | 6.7 |",
        "| MF | one by one, doubtful first | more (100 to more) | more (400 to more) | > 13.3 |",
        "| ours | by groups | more (30 to more) | more (120 to more) | – |",
    ]
    # Nothing was recorded for macro F.
    assert (
        rows(records, "### `crchisto`, 90 % of the macro F ")[1]
        == "| MF | one by one | more (more to more) | more (more to more) | – |"
    )


def test_only_splits_that_both_ways_have_are_compared():
    records = [*named("mf", "groups", 20), *named("mf", "one-by-one", 100, 900)]
    assert rows(records, "### `crchisto`, 90 % of the F ")[1].endswith("| 5.0 |")


@pytest.mark.parametrize("figure", ["F", "macro F"])
def test_curves_stand_beside_the_figure_of_all_cells(figure):
    records = [*named("mf", "groups", 20, 40), *named("mf", "one-by-one", 90, 100)]
    expected = ("0.300", "0.650", "0.700") if figure == "F" else ("0.200", "0.500", "0.600")
    for row in rows(records, f"### `crchisto`, {figure} by the number of actions"):
        assert row.split(" | ")[2:] == [*(f"{number} ± 0.000" for number in expected[:2]), f"{expected[2]} ± 0.000 |"]
    assert rows(records, "named cells by the number") == ["| MF | by groups | 40 ± 0 | 900 ± 0 |"]


def test_section_says_that_the_reviewer_is_simulated_and_what_an_action_is():
    text = SECTIONS["teach"](named("mf", "groups", 20))
    assert "The reviewer is simulated" in text
    assert "never errs" in text
    assert "one naming of any number of selected cells" in text
    assert "| MF | by groups | 20 | 80 | – |" in text
