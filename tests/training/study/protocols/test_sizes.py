"""Drawn nuclei are counted and measured, with systems whose answer is known."""

import json
import sys

import numpy as np
import pytest
from scipy import ndimage

from app.pipeline.nuclei.measure import measure
from training import __main__ as command_line
from training.study.protocols.drawn_nuclei import DrawnNucleus, DrawnTile
from training.study.protocols.sizes import evaluate_sizes

CROSS = ndimage.generate_binary_structure(2, 1)
SQUARE, LONG = DrawnNucleus("alone", 10, "pale"), DrawnNucleus("pair", 20, "dark")


def two_nuclei(seed):
    labels = np.zeros((40, 60), np.int32)
    labels[10:20, 10:20] = 1
    labels[10:30, 30:40] = 2
    return DrawnTile(np.full((40, 60, 3), 200, np.uint8), labels, (SQUARE, LONG))


def drawn(pixels):
    return measure(two_nuclei(0).label_image)


def grown(pixels):
    """Both nuclei have a pixel more on each side, but not at the corners: 140 of 100 px, and 260 of 200 px."""
    return measure(ndimage.grey_dilation(two_nuclei(0).label_image, footprint=CROSS))


def halves(pixels):
    """The square is not found, and the long one is cut into two halves: neither has an IoU above one half."""
    labels = np.zeros((40, 60), np.int32)
    labels[10:20, 30:40] = 1
    labels[20:30, 30:40] = 2
    return measure(labels)


def test_what_is_found_is_counted_and_measured():
    result = evaluate_sizes({"drawn": drawn, "grown": grown, "halves": halves}, 2, draw=two_nuclei)
    found = {
        name: [(row["drawn"], row["found"], row["area_ratio"]) for row in measured["rows"]]
        for name, measured in result.items()
    }
    assert found == {
        "drawn": [(2, 2, 1.0), (2, 2, 1.0)],
        "grown": [(2, 2, 1.4), (2, 2, 1.3)],
        "halves": [(2, 0, None), (2, 0, None)],
    }
    assert [measured["beside"] for measured in result.values()] == [0, 0, 4]
    assert result["drawn"]["rows"][0] | {"found": 0} == {
        "situation": "alone",
        "diameter_px": 10,
        "darkness": "pale",
        "drawn": 2,
        "found": 0,
        "area_ratio": 1.0,
    }


def test_the_command_writes_what_the_report_reads(tmp_path, monkeypatch, shipped_bundle):
    results, document = tmp_path / "results", tmp_path / "results.md"
    for arguments in (
        ["evaluate", "sizes", results, "--tiles", 1],
        ["report", results, document, "--bundle", shipped_bundle],
    ):
        monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        assert ended.value.code == 0
    measured = json.loads((results / "sizes.json").read_text(encoding="utf-8"))
    assert list(measured) == ["default", "paper"]
    text = document.read_text(encoding="utf-8")
    assert "drawn, not photographed" in text
    row = next(line for line in text.splitlines() if line.startswith("| alone | 40 px, 10 µm |"))
    assert "| default, pale | default, medium | default, dark | paper, pale |" in text
    assert row.count("/1") == 6
    assert "{" not in text
