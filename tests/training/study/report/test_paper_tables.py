"""The sections on Tables I to IV, of records with known means and spreads."""

import pytest

from app.pipeline.bundle.load import read_manifest
from training.study.report import SECTIONS, render
from training.study.report.tables import Column, describe_fits, spread_table

ABOUT = {
    "date": "2025-01-02",
    "libraries": {"numpy": "2.4", "torch": "2.13"},
    "threads": 1,
    "device": "cpu",
    "cells": 120,
    "types": 4,
    "seconds": 12.0,
}
COLUMNS = [Column("purity", "purity", best="highest"), Column("loss", "loss", ".1f", best="lowest"), Column("n", "n")]


def fits(system, *purities, **values):
    return [
        {**ABOUT, "set": "crchisto", "system": system, "seed": seed, "n_clusters": 5, "purity": purity, **values}
        for seed, purity in enumerate(purities)
    ]


def clusters(system, purity, *, f1=0.5, n_clusters=5, notes=None):
    names = ("class_entropy", "nmi", "ari", "printed_entropy", "largest_share")
    values = {**dict.fromkeys(names, 0.25), "f1": f1, "n_clusters": n_clusters, "notes": notes or {}}
    return fits(system, purity - 0.1, purity, purity + 0.1, **values)


def test_row_is_the_mean_and_the_sample_deviation_of_its_records():
    rows = {("a",): fits("a", 0.4, 0.5, 0.6, loss=2.0), ("b",): fits("b", 0.7, loss=1.0, n=3)}
    lines = spread_table(("system",), rows, COLUMNS).splitlines()
    assert lines[0] == "| system | purity | loss | n |"
    assert lines[2] == "| a | 0.500 ± 0.100 | 2.0 ± 0.0 | – |"
    assert lines[3] == "| b | **0.700** | **1.0** | 3.000 |"


def test_rows_that_are_written_alike_are_both_best():
    rows = {("a",): fits("a", 0.50001), ("b",): fits("b", 0.50002)}
    assert spread_table(("system",), rows, COLUMNS).count("**0.500**") == 2


def test_row_without_rivals_is_not_best():
    assert "**" not in spread_table(("system",), {("a",): fits("a", 0.5)}, COLUMNS)


def test_description_gives_the_range_of_days_and_every_seed():
    records = [*fits("a", 0.5, 0.5), {**fits("b", 0.5)[0], "date": "2025-02-03", "device": "H200"}]
    text = describe_fits(records)
    assert "2025-01-02 to 2025-02-03 on H200 or cpu (1 CPU threads)" in text
    assert "seeds (0, 1)" in text
    assert "numpy 2.4, torch 2.13" in text


RECORDS = [
    *clusters("ours", 0.7, f1=0.62),
    *clusters("mf-kmeans", 0.5, f1=0.41),
    *clusters("catgan", 0.4, notes={"largest_share": 0.98}),
    *clusters("ours", 0.7, f1=0.55, n_clusters=4),
    {**ABOUT, "set": "crchisto", "system": "infogan", "seed": 0, "n_clusters": 5, "failed": "a loss became NaN"},
]


def test_clustering_is_in_the_order_of_the_papers_table_with_ours_in_bold():
    text = SECTIONS["clustering"](RECORDS)
    rows = [line.split(" | ")[0] for line in text[text.index("### `crchisto`") :].splitlines() if line.startswith("| ")]
    assert rows[:5] == ["| system", "| MF + k-means", "| CatGAN", "| InfoGAN (DCGAN)", "| ours"]
    assert "| ours | – | – | **0.700** ± 0.100 |" in text
    assert "`crchisto` (120 cells of 4 types)" in text


@pytest.mark.parametrize("name", ["clustering", "classification", "few_labels", "teach", "site"])
def test_what_ours_by_places_was_chosen_on_stands_where_it_takes_part(name):
    sizes = {"split": 0, "training_cells": 96, "test_cells": 24, "tiles": 20, "f1": 0.5, "way": "groups", "f1_5": 0.5}
    places, ours = (fits(system, 0.5, **sizes) for system in ("ours-places", "ours"))
    text = SECTIONS[name]([*ours, *places])
    assert "| ours, by places |" in text
    assert text.count("its figures for `crchisto` are tuned on that set") == 1
    assert "by places" not in SECTIONS[name](ours)


def test_what_happened_in_a_fit_stands_under_the_table():
    text = SECTIONS["clustering"](RECORDS)
    assert "- CatGAN: largest_share 0.98" in text
    assert "- InfoGAN (DCGAN): 1 of 1 fits failed (a loss became NaN)" in text


def test_figures_with_neighbours_have_a_table_of_their_own():
    voted = {"purity": 0.81, "class_entropy": 0.2, "f1": 0.6, "nmi": 0.3, "ari": 0.3}
    text = SECTIONS["clustering"]([*clusters("mf-kmeans", 0.5), *fits("ours", 0.7, f1=0.5, in_company=voted)])
    alone, together = text.split("with neighbours\n")
    assert "| ours | – | – | **0.700** |" in alone
    assert "| MF + k-means | – | – | – |" in together
    assert "| ours | – | – | 0.810 |" in together


def test_agreement_within_tiles_comes_first_and_that_of_the_types_with_the_tile_stands_beside_it():
    figures = {"f1": 0.5, "explained_area": 0.86, "explained_contrast": 0.02, "types_nmi_tile": 0.225}
    rows = [
        *fits("mf-kmeans", 0.6, within_tiles=0.15, nmi_tile=0.09, **figures),
        *fits("ours", 0.5, within_tiles=0.17, nmi_tile=0.2, **figures),
        *fits("catgan", 0.4),
    ]
    text = SECTIONS["clustering"](rows)
    assert "| system | NMI within tiles | NMI with the tile | purity |" in text
    assert "| ours | **0.170** | 0.200 | 0.500 |" in text
    assert "| MF + k-means | 0.150 | 0.090 | **0.600** |" in text
    assert "| CatGAN | – | – | 0.400 |" in text
    assert "| 0.860 | – | – | 0.020 |" in text
    assert "The NMI of the types themselves with the tile is 0.225." in text


def test_numbers_of_clusters_are_compared_for_systems_that_have_several():
    text = SECTIONS["clustering"](RECORDS)
    table = text[text.index("### Number of clusters") :]
    assert "| `crchisto` | ours | 0.550 ± 0.000 | 0.620 ± 0.000 |" in table
    assert "MF + k-means" not in table


def test_row_on_other_cells_than_the_rest_says_so():
    old = [{**record, "cells": 90} for record in clusters("hog-dec", 0.4)]
    text = SECTIONS["clustering"]([*RECORDS, *old])
    assert "`crchisto` (120 cells of 4 types)" in text
    assert "| HOG + DEC, 90 cells |" in text
    assert "| CatGAN |" in text


def test_agreement_is_the_mean_over_pairs_of_seeds_and_the_lowest_of_them():
    pairs = [
        {**fits("ours", 0.5)[0], "seed": seed, "other_seed": other, "ari": ari, "nmi": 0.5}
        for seed, other, ari in ((0, 1, 0.9), (0, 2, 0.8), (1, 2, 0.7))
    ]
    text = SECTIONS["agreement"](pairs)
    assert "| `crchisto` | 120 | ours | 0.800 ± 0.100 | 0.700 | 0.500 ± 0.000 |" in text
    assert "seeds (0, 1, 2)" in text


def test_published_figures_are_marked_as_such():
    figures = {"precision": 0.8, "recall": 0.7, "f1": 0.75, "dimensions": 188, "training_cells": 96, "test_cells": 24}
    labels = [
        {**record, "head": "SVM on proportions", "fold": fold, "precision": 1, "recall": 1, "f1": 1, "auc": 1}
        for record in fits("ours", 0.5)
        for fold in range(4)
    ]
    sections = {
        "clustering": RECORDS,
        "classification": fits("mf", 0.5, split=0, **figures),
        "image_label": labels,
    }
    for name, records in sections.items():
        text = SECTIONS[name](records)
        measured, published = text.split("ot measured here")
        assert not any(figure in measured for figure in (".863", ".857", ".950", ".940"))
        assert any(figure in published for figure in (".863", ".857", ".950", ".940"))


def test_label_of_tiles_is_the_mean_of_four_folds_and_then_of_seeds():
    folds = [
        {**ABOUT, "set": "fl_reactive", "system": system, "head": head, "n_clusters": 5, "seed": seed, "fold": fold}
        | dict.fromkeys(("precision", "recall", "f1", "auc"), value + fold / 10)
        for system, head, seed, value in (
            ("ours", "SVM on proportions", 0, 0.4),
            ("ours", "SVM on proportions", 1, 0.5),
            ("ours", "k-means on proportions", 0, 0.2),
        )
        for fold in range(4)
    ]
    head = "logistic regression on the number of cells"
    of_bundle = {**ABOUT, "set": "fl_reactive", "system": "bundle", "head": head, "seed": 0}
    figures = dict.fromkeys(("precision", "recall", "f1", "auc"), 0.3)
    folds[:0] = [{**of_bundle, **figures, "fold": fold} for fold in range(4)]
    # The fourth fold of a seed is still to be run: it does not count yet.
    text = SECTIONS["image_label"](folds[:-1])
    assert "| ours | SVM on proportions | 5 | **0.600** ± 0.071 |" in text
    assert "| the shipped bundle | logistic regression on the number of cells | – | 0.300 |" in text
    assert "| ours | k-means on proportions | 5 | – |" in text


def test_figures_stand_with_their_commands():
    text = SECTIONS["figures"]({"noise": {"channels": 32}, "classification-consep": {"f1": 0.75, "seed": 0}})
    assert "](figures/noise.png)" in text
    assert "Command: `python -m training evaluate figure noise RUN` (channels: 32)." in text
    assert "`consep`" in text
    assert "](figures/classification-consep.png)" in text
    assert "f1: 0.750" in text


@pytest.mark.parametrize("called", [{}, {"called": {"normal": {"normal": 7, "abnormal": 1}}}])
def test_label_that_rests_on_the_users_tiles_is_not_called_a_simulation(shipped_bundle, called):
    manifest, _ = read_manifest(shipped_bundle)
    measured = {"data": "8 labelled tiles", "precision": 0.9, "recall": 0.8, "f1": 0.85, "auc": 0.95, **called}
    metrics = manifest.metrics.model_copy(update={"image_level": measured})
    text = render({}, manifest.model_copy(update={"metrics": metrics}))
    assert "On 8 labelled tiles: precision 0.900, recall 0.800, F1 0.850, AUC 0.950." in text
    assert ("Of the normal ones 7 are called normal and 1 are called abnormal." in text) == bool(called)
    assert "simulated bags can be" not in text


def test_each_number_of_clusters_has_its_agreement_between_seeds():
    about = {**ABOUT, "set": "marrow", "system": "encoder"}
    records = [
        *(
            {**about, "n_clusters": k, "seed": seed, "smallest_share": 0.1 * seed}
            for k in (10, 4)
            for seed in (0, 1, 2)
        ),
        *(
            {**about, "n_clusters": k, "seed": 0, "other_seed": other, "ari": ari + other / 10, "matched": 0.9}
            for k, ari in ((10, 0.2), (4, 0.6))
            for other in (1, 2)
        ),
    ]
    text = SECTIONS["stability"](records)
    assert "### `marrow`, 120 cells, configuration `encoder`" in text
    four, ten = (line for line in text.splitlines() if line.startswith(("| 4 |", "| 10 |")))
    assert four.startswith("| 4 | **0.750** ± 0.071 | 0.700 | **0.900** ± 0.000 | – | 0.100 ± 0.100 |")
    assert ten.startswith("| 10 | 0.350 ± 0.071 | 0.300 |")


def test_recorded_coverage_of_another_truth_is_passed_over():
    row = {"population": "all cells", "cells": 20, "draws": 10, "confidence": 0.95, "coverage": 0.96, "width": 0.4}
    given = {"rows": [row | {"coverage_by_anchors": 0.123}], "bundle": "marrow 1", "date": "2025-01-02"}
    text = SECTIONS["intervals"](given)
    assert "| all cells | 20 | 0.960 | – | – | – | 0.400 |" in text
    assert "anchors" not in text
