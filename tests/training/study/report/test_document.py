"""The document as a whole: it says what was measured, and leaves out the rest."""

import re

import numpy as np
import pytest

from app.pipeline.bundle.load import read_manifest
from app.pipeline.fit.reference_fit import ReferenceCells, fit_reference_ranges
from app.pipeline.reference_ranges import compare
from tests.descriptions import describe_by_hand
from training.bundle.gates import GATES
from training.study.report import render

RESULTS = {
    "detection": {
        "paper": {
            "tune": {"precision": 0.8, "recall": 0.7, "f1": 0.747, "found": 100, "truth": 120},
            "test": {
                "precision": 0.912,
                "recall": 0.623,
                "f1": 0.74,
                "found": 50,
                "truth": 73,
                "kainz_recall": 0.731,
                "kainz_recall_code_1": 0.75,
                "tiles": 3,
                "seconds": 0.5,
            },
        }
    },
    "segmentation": {
        "monuseg": {
            "paper": {
                "iou": 0.56,
                "f1": 0.7,
                "dice": 0.779,
                "aji": 0.4,
                "pq": 0.3,
                "matched": 5,
                "found": 6,
                "truth": 7,
                "tiles": 13,
                "seconds": 1.25,
            }
        }
    },
    "quality": {
        "references": {},
        "conditions": {
            "test": {
                "fog": {
                    "wanted": ["blurred", "saturated"],
                    "tile": {"views": 1, "right": 1.0, "flags": {"blurred": 1.0, "saturated": 0.0}},
                    "crop": {"views": 3, "right": 0.667, "flags": {"blurred": 0.333, "saturated": 0.333}},
                },
                "a cat": {"wanted": [], "picture": {"views": 1, "right": 0.5, "flags": {"blurred": 0, "saturated": 0}}},
            }
        },
        "false_alarms": {"test": {"crops": 136, "any": 0.0074, "flags": {"blurred": 0.0074, "saturated": 0.0}}},
    },
}


def test_report_says_what_was_measured_and_nothing_else(shipped_bundle):
    manifest, _ = read_manifest(shipped_bundle)
    text = render(RESULTS, manifest)
    assert ("| paper | test | 0.912 | 0.623 | 0.740 | 50 | 73 | 0.731 | 0.750 | – | 0.50 |") in text
    assert "| paper | 0.560 | 0.700 | 0.779 | 0.400 | 0.300 | 5 | 6 | 7 | – | 1.25 |" in text
    assert "`monuseg` (tiles: 13)" in text
    assert "| test | 136 | 0.007 | 0.007 | 0.000 |" in text
    assert "| fog | blurred or saturated | 1.00 | 0.67 | – | 0.50 | 0.25 |" in text
    assert "| a cat | none | – | – | 0.50 | 0.00 | 0.00 |" in text
    assert f"{manifest.metrics.loss_q:.3f}" in text
    assert f"{manifest.training.iterations} generator iterations" in text
    assert manifest.image_level.label_basis in text
    for k, cluster in enumerate(manifest.metrics.clusters):
        assert f"| {k} | {cluster.share:.3f} | {cluster.fidelity:.3f} |" in text
    for gate in GATES.values():
        assert gate.title in text
    assert "None" not in text
    assert "{" not in text


def test_each_evaluation_stands_with_its_command(shipped_bundle):
    text = render(RESULTS, read_manifest(shipped_bundle)[0])
    for name in RESULTS:
        assert f"`python -m training evaluate {name} " in text


def test_masks_are_called_tuning_data(shipped_bundle):
    text = render(RESULTS, read_manifest(shipped_bundle)[0])
    assert "tuned on the masks of `monuseg`" in text[text.index("## Segmentation") : text.index("### `monuseg`")]


@pytest.mark.parametrize("name", RESULTS)
def test_what_was_not_measured_is_left_out(name, shipped_bundle):
    text = render({name: RESULTS[name]}, read_manifest(shipped_bundle)[0])
    assert [other for other in RESULTS if f"training evaluate {other}" in text] == [name]


def test_figure_that_was_not_measured_is_a_dash(shipped_bundle):
    text = render(RESULTS, read_manifest(shipped_bundle)[0])
    assert "| paper | tune | 0.800 | 0.700 | 0.747 | 100 | 120 | – | – | – | – |" in text


def test_report_of_a_cluster_without_diversity_has_a_dash(shipped_bundle):
    manifest, _ = read_manifest(shipped_bundle)
    figures = manifest.metrics.clusters[0].model_copy(update={"diversity": None})
    clusters = (figures, *manifest.metrics.clusters[1:])
    changed = manifest.model_copy(update={"metrics": manifest.metrics.model_copy(update={"clusters": clusters})})
    assert f"| 0 | {figures.share:.3f} | {figures.fidelity:.3f} | – |" in render({}, changed)


def test_report_says_what_the_clusters_explain_and_what_sets_them_apart(shipped_bundle):
    manifest, _ = read_manifest(shipped_bundle)
    text = render({}, manifest.model_copy(update={"descriptions": describe_by_hand()}))
    # By size; what was measured on no cell has no row.
    assert "|---|---|\n| Nuclear area | 0.900 |\n| Eccentricity | 0.070 |\n\n" in text
    assert "| 4 | Large nuclei of 24. | Nuclear area +0.40; Eccentricity -0.30 |" in text
    assert "sets each cluster apart" not in render({}, manifest.model_copy(update={"descriptions": None}))


def test_report_says_between_which_limits_the_reference_tiles_lie(shipped_bundle):
    manifest, _ = read_manifest(shipped_bundle)
    # The last tile has hardly any cell of cluster 1, unlike the others.
    counts = np.array([[50, 50], [52, 48], [49, 51], [51, 49], [48, 52], [98, 2]])
    cells = ReferenceCells(
        clusters=np.concatenate([np.repeat([0, 1], row) for row in counts]),
        tile_index=np.repeat(np.arange(6), 100),
        n_clusters=5,
    )
    ranges = fit_reference_ranges(cells, "six drawn tiles")
    found = compare(ranges.proportions[0], None, 100)
    text = render({}, manifest.model_copy(update={"reference_ranges": ranges}))
    assert "Of six drawn tiles," in text
    assert f"| Cluster 0 | {found.low:.3g} (" in text
    assert re.search(r"\| Cluster 0 \| .* \| 83\.3% \|\n\| Cluster 1 .* \| 83\.3% \|\n\| Cluster 2 .* 100\.0% \|", text)
    assert "Each tile was left out" in text
    assert "Cellularity" not in text
    assert "### Reference ranges" not in render({}, manifest.model_copy(update={"reference_ranges": None}))


def test_tables_of_the_report_are_well_formed(shipped_bundle):
    columns = 0
    for line in render(RESULTS, read_manifest(shipped_bundle)[0]).splitlines():
        found = line.count("|") if line.startswith("|") else 0
        assert found in (columns, 0) or columns == 0, line
        columns = found


def test_report_says_which_tiles_a_network_has_seen(shipped_bundle):
    paper = RESULTS["segmentation"]["monuseg"]["paper"]
    rows = {
        "paper": paper,
        "learned": paper | {"learned_from": 11, "checked_on": 2, "other_tiles": 35},
        "learned, held out": paper | {"learned_from": 0, "checked_on": 0, "other_tiles": 35},
        "learned elsewhere": paper | {"learned_from": None, "checked_on": None, "other_tiles": None},
    }
    manifest, _ = read_manifest(shipped_bundle)
    text = render({"segmentation": {"monuseg": rows}}, manifest)
    seen = {
        line.split(" | ")[0]: line.split(" | ")[-2]
        for line in text.splitlines()
        if line.startswith(("| learned", "| paper"))
    }
    assert seen == {
        "| paper": "–",
        "| learned": "11 learned, 2 checked, of 13; 35 others",
        "| learned, held out": "none of 13; 35 others",
        "| learned elsewhere": "not recorded",
    }
    assert "has never seen a tile of the set" in text
    assert "has never seen" not in render(RESULTS, manifest)
