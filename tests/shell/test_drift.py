"""`marrowscope drift`: two folders of answers, and what differs between them beyond chance."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ttest_ind

from app.answer.csv_table import csv_table
from app.shell.drift import _p_of_means, holm
from tests.shell.runs import analyze, run, words


def answer(i, **changed):
    """What the command reads of an answer about tile i."""
    values = {"distance": 0.8 + 0.03 * (i % 5), "area": 60 + i % 4, "flags": (), "bundle": "marrow", **changed}
    return {
        "tile": {"sha256": f"{i}"},
        "quality": {
            "stain_distance": values["distance"],
            "focus": 0.4 + 0.01 * (i % 3),
            "tissue_fraction": 0.6 + 0.02 * (i % 4),
            "flags": [{"code": code} for code in values["flags"]],
        },
        "cells": [{}] * (500 + i % 7),
        "outliers": {"share": 0.01},
        "clusters": [{"cluster": 0, "proportion": 0.3 + 0.01 * (i % 3)}, {"cluster": 1, "proportion": None}],
        "measurements": [{"measurement": "area_um2", "median": values["area"]}, {"measurement": "x", "median": None}],
        "label": {"value": "normal"},
        "bundle": {"name": values["bundle"], "version": "1", "sha256": "0" * 64},
    }


def folder_of(path, answers):
    path.mkdir()
    for i, each in enumerate(answers):
        (path / f"{i}.json").write_text(json.dumps(each))
    return path


def found_in(*arguments):
    return {each["quantity"]: each for each in json.loads(run("drift", *arguments, "--json").stdout)}


def test_a_folder_never_differs_from_itself(tmp_path):
    old = folder_of(tmp_path / "old", [answer(i) for i in range(12)])
    found = found_in(old, old)
    assert {"stain distance", "focus", "tissue", "cells per tile", "cluster 0", "nuclear area, µm²"} <= set(found)
    assert "cluster 1" not in found
    for each in found.values():
        assert (each["difference"], each["p_holm"], each["beyond_chance"]) == (0, 1, False)
    assert "None differs beyond chance" in run("drift", old, old).stdout


def test_what_differs_is_reported_and_nothing_else(tmp_path):
    old = folder_of(tmp_path / "old", [answer(i) for i in range(12)])
    changed = [answer(i, distance=1.8 + 0.03 * (i % 5), flags=["stain_out_of_range"]) for i in range(12)]
    new = folder_of(tmp_path / "new", changed)
    found = found_in(old, new)
    assert {name for name, each in found.items() if each["beyond_chance"]} == {
        "stain distance",
        "flag stain_out_of_range",
    }
    distance = found["stain distance"]
    assert (distance["n_old"], distance["n_new"]) == (12, 12)
    assert distance["difference"] == pytest.approx(1.0)
    assert distance["p"] < distance["p_holm"]
    lines = run("drift", old, new).stdout.splitlines()
    assert [line.split("  ")[0] for line in lines if line.endswith("beyond chance")] == [
        "stain distance",
        "flag stain_out_of_range",
    ]


def test_p_values_are_corrected_as_holm_does():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_means_are_compared_as_welch_does():
    x, y = [0.1, 0.4, 0.35, 0.8], [0.9, 1.4, 1.1]
    assert _p_of_means(x, y) == pytest.approx(ttest_ind(x, y, equal_var=False).pvalue, rel=1e-9)
    assert _p_of_means([1.0] * 3, [2.0] * 3) == pytest.approx(0.1)


def test_chance_alone_is_rarely_reported(tmp_path):
    dice = np.random.default_rng(0)
    reported = 0
    for trial in range(20):
        sides = [
            folder_of(
                tmp_path / f"{side}{trial}",
                [answer(i, distance=dice.normal(), area=dice.normal()) for i in range(4)],
            )
            for side in ("old", "new")
        ]
        reported += any(each["beyond_chance"] for each in found_in(*sides).values())
    assert reported <= 3


def test_answers_of_different_bundles_are_compared_only_if_asked(tmp_path):
    old = folder_of(tmp_path / "old", [answer(i) for i in range(3)])
    new = folder_of(tmp_path / "new", [answer(i, bundle="lab") for i in range(3)])
    error = words(run("drift", old, new, status=1).stderr)
    assert "different bundles: lab 1 (000000000000), marrow 1 (000000000000)" in error
    assert found_in(old, new, "--different-bundles")["focus"]["n_new"] == 3


def test_what_cannot_be_compared_is_named(tmp_path):
    old = folder_of(tmp_path / "old", [answer(i) for i in range(3)])
    twice = folder_of(tmp_path / "twice", [answer(0), answer(0), answer(1)])
    wrong = folder_of(tmp_path / "wrong", [answer(0), {"quality": 3}])
    summary = folder_of(tmp_path / "summary", [])
    (summary / "summary.csv").write_text("a,b\n1,2\n")
    for other, reason in {
        twice: "about 2 different tiles; at least 3",
        wrong: "1.json is not an answer",
        summary: "summary.csv is not a summary",
        folder_of(tmp_path / "empty", []): "has no answers",
        tmp_path / "none": "is not a folder",
    }.items():
        result = run("drift", old, other, status=1)
        assert reason in words(result.stderr)
        assert result.stdout == ""


def test_a_summary_will_do(tmp_path):
    old = folder_of(tmp_path / "old", [answer(i) for i in range(3)])
    new = folder_of(tmp_path / "new", [])
    row = {
        "status": "ok", "cells": 9, "outliers": 0, "focus": 0.5, "flags": "blurred few_cells", "label": "normal",
        "proportion_0": 0.25, "proportion_Blast": 0.1, "bundle": "marrow", "bundle_version": "1",
        "bundle_sha256": "0" * 64,
    }  # fmt: skip
    rows = [{**row, "tile_sha256": str(i)}.values() for i in range(3)]
    (new / "summary.csv").write_bytes(csv_table([*row, "tile_sha256"], [*rows, ["failed"]]))
    found = found_in(old, new)
    assert {name for name in found if not name.startswith(("flag", "label"))} == {
        "focus", "cells per tile", "outliers", "cluster 0",
    }  # fmt: skip
    assert found["flag blurred"]["new"] == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_tiles_that_are_paler_are_noticed(bm_graz, here):
    for name, strength in (("as-they-are", 1.0), ("paler", 0.8)):
        (here / name).mkdir()
        for path in sorted((bm_graz / "tiles").glob("*.png")):
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))[400:800, 400:800]
            density = -np.log((pixels + 1.0) / 256)
            paler = 256 * np.exp(-strength * density) - 1
            Image.fromarray(paler.round().clip(0, 255).astype(np.uint8)).save(here / name / path.name)
        analyze(here / name, "--out", here / f"{name}-answers")
    before, after = here / "as-they-are-answers", here / "paler-answers"
    assert found_in(before, after)["stain distance"]["beyond_chance"]
    assert not any(each["beyond_chance"] for each in found_in(before, before).values())
