"""The sections on features, of records with known means and differences."""

from training.study.report import SECTIONS

ABOUT = {
    "set": "crchisto",
    "date": "2025-01-02",
    "libraries": {"numpy": "2.4"},
    "threads": 1,
    "device": "cpu",
    "seconds": 12.0,
}


def splits(system, *f1, seed=0, **figures):
    sizes = {"precision": 0.8, "recall": 0.7, "dimensions": 188, "training_cells": 96, "test_cells": 24}
    return [
        {**ABOUT, **sizes, "system": system, "split": split, "seed": seed, "f1": value, **figures}
        for split, value in enumerate(f1)
    ]


def test_types_from_features_are_the_mean_over_splits():
    text = SECTIONS["classification"](splits("mf", 0.4, 0.6, macro_f1=0.3))
    assert "| MF | 0.500 ± 0.141 | 0.300 ± 0.000 | 0.800 ± 0.000 | 0.700 ± 0.000 | 188 ± 0 |" in text
    assert "`crchisto` (120 cells)" in text
    assert "Mean ± sd over splits (0, 1)" in text
    assert "| MF | – | – |" in text


def test_each_system_is_compared_with_the_best_other_one_split_by_split():
    """Between splits F varies by .3; the differences of .01, .02 and .03 have a standard error of .01 / √3."""
    records = [
        *splits("mf", 0.10, 0.20, 0.30, macro_f1=0.2),
        *splits("cnn", 0.30, 0.60, 0.45, macro_f1=0.4),
        *splits("ours", 0.31, 0.62, 0.48),
    ]
    text = SECTIONS["classification"](records)
    assert "| ours | +0.020 ± 0.006 (EfficientNet-Lite0) | – |" in text
    assert "| EfficientNet-Lite0 | -0.020 ± 0.006 (ours) | +0.200 ± 0.000 (MF) |" in text
    assert "| MF | -0.270 ± 0.075 (ours) | -0.200 ± 0.000 (EfficientNet-Lite0) |" in text


def test_ceiling_stands_below_the_others_and_is_compared_with_none():
    records = [*splits("with-types", 0.9, 0.9), *splits("mf", 0.4, 0.4), *splits("ours", 0.5, 0.5)]
    text = SECTIONS["classification"](records)
    ceiling = "| trained with types (the ceiling of this network) | 0.900 ± 0.000 |"
    assert (
        text.index("| ours | **0.500** ± 0.000 |") < text.index(ceiling) < text.index("was trained, in the same views")
    )
    assert "| ours | +0.100 ± 0.000 (MF) |" in text
    assert text.count("trained with types") == 1


def test_several_seeds_of_a_split_count_as_one_figure_of_that_split():
    records = [*splits("mf", 0.2, 0.3), *splits("mf", 0.4, 0.5, seed=1), *splits("cnn", 0.2)]
    text = SECTIONS["classification"](records)
    assert "| MF | **0.350** ± 0.071 |" in text
    # Only the first split has both.
    assert "| MF | +0.100 (EfficientNet-Lite0) |" in text


def test_figures_of_few_named_cells_stand_in_the_order_of_their_number():
    records = [
        *splits("mf", 0.0, 0.0, f1_5=0.3, f1_10=0.4, f1_100=0.5, macro_f1_5=0.2),
        *splits("ours", 0.0, f1_5=0.35, f1_10=0.4, f1_100=0.6, macro_f1_5=0.1),
    ]
    for record in records:
        del record["f1"]
    text = SECTIONS["few_labels"](records)
    weighted, macro = text.split("macro F by the number")
    assert "| features | 5 of each | 10 of each | 100 of each |" in weighted
    assert "| MF | 0.300 ± 0.000 | **0.400** ± 0.000 | 0.500 ± 0.000 |" in weighted
    assert "| ours | **0.350** | **0.400** | **0.600** |" in weighted
    assert "| MF | **0.200** ± 0.000 | – | – |" in macro


def test_what_features_know_of_the_tile_stands_beside_the_type_and_chance():
    sizes = {"tiles": 20, "types": 4, "cells": 2000}
    records = [
        {**ABOUT, **sizes, "system": system, "seed": seed, "tile": tile + seed / 10, "type": 0.6}
        for system, tile in (("ours", 0.3), ("mf", 0.5))
        for seed in (0, 1)
    ]
    text = SECTIONS["site"](records)
    assert "2000 cells of 20 tiles and 4 types: chance is 0.050 and 0.250." in text
    assert "| MF | 0.550 ± 0.071 | **0.600** ± 0.000 |" in text
    assert "| ours | **0.350** ± 0.071 | **0.600** ± 0.000 |" in text
