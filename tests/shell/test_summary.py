"""summary.csv beside the JSON of its tiles."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from app.pipeline.bundle.load import load_bundle
from app.shell.outputs import answered_row, failed_row, summary_table
from tests.answer.rendering import analysed
from tests.api.answers import strict_json
from tests.cell_classifiers import typed
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.shell.runs import analyze, summary_of


@pytest.fixture
def answers(here, tiles, shipped_bundle):
    """Rows and JSON of a tile with a label, one without a cell, and of one that cannot be read between them."""
    (tiles / "white.png").write_bytes(encoded(np.full((120, 160, 3), 255, np.uint8)))
    names = [shipped_bundle / "sample.png", tiles / "text.png", tiles / "white.png"]
    analyze(*names, "--out", here, "--mpp", 0.25, status=1)
    documents = [strict_json((here / f"{stem}.json").read_text("utf-8")) for stem in ("sample", "white")]
    return summary_of(here), documents, names


def test_there_is_a_row_for_each_tile_in_the_order_given(answers):
    rows, _, names = answers
    assert [row["tile"] for row in rows] == [str(name) for name in names]
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]


def test_values_are_those_of_the_json_and_what_is_null_is_empty(answers):
    rows, documents, _ = answers
    for row, answer in zip((rows[0], rows[2]), documents, strict=True):
        label, bundle, tile = answer["label"], answer["bundle"], answer["tile"]
        expected = {
            **{name: tile[name] for name in ("width", "height", "mpp", "mpp_source", "cut_nuclei")},
            "cells": len(answer["cells"]),
            "outliers": answer["outliers"]["count"],
            "focus": answer["quality"]["focus"],
            "label": label["value"],
            **{name: label[name] for name in ("score", "probability", "reason")},
            "flags": " ".join(flag["code"] for flag in answer["quality"]["flags"]),
            "segmentation_source": "bundle",
            "segmentation_method": answer["segmentation"]["method"],
            "bundle": bundle["name"],
            "bundle_version": bundle["version"],
            "bundle_sha256": bundle["sha256"],
            "precision": bundle["precision"],
            "tile_sha256": tile["sha256"],
            "milliseconds": answer["timing_ms"]["total"],
            "error": None,
        }
        for cluster in answer["clusters"]:
            k, (low, high) = cluster["cluster"], cluster["interval"] or (None, None)
            expected |= {f"count_{k}": cluster["count"], f"proportion_{k}": cluster["proportion"]}
            expected |= {f"low_{k}": low, f"high_{k}": high}
        found = {name: row[name] for name in row if name not in ("tile", "status")}
        assert found == {name: "" if value is None else str(value) for name, value in expected.items()}
    assert documents[0]["cells"]
    assert rows[2]["cells"] == "0"


def test_tile_that_failed_has_its_reason_and_nothing_else(answers):
    (_, row, _), _, _ = answers
    assert {name for name, value in row.items() if value} == {"tile", "status", "error"}
    assert row["error"] == "The upload is not a PNG, JPEG or TIFF image."


def test_columns_come_in_one_order(answers):
    rows, _, _ = answers
    text = " ".join(rows[0])
    assert text.startswith("tile status error width height mpp cells outliers cut_nuclei focus label score probability")
    assert "reason flags count_0 proportion_0 low_0 high_0 count_1" in text
    assert text.endswith(
        "high_4 mpp_source segmentation_source segmentation_method "
        "bundle bundle_version bundle_sha256 precision tile_sha256 milliseconds"
    )


def test_summary_is_replaced_by_that_of_the_next_run(here, tiles):
    for name in ("one.png", "two.v2.tif"):
        analyze(tiles / name, "-f", "overlay")
        assert [row["tile"] for row in summary_of(here)] == [str(tiles / name)]


def test_any_name_and_reason_can_be_read_back(tmp_path):
    names = ['comma, "quoted".png', "line\nbreak.png", "Zürich µm.png", "not text \udcff.png"]
    table = summary_table([failed_row(tmp_path / name, "because;") for name in names], n_clusters=2).decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert [row["tile"] for row in rows[:3]] == [str(tmp_path / name) for name in names[:3]]
    assert rows[3]["tile"].endswith("not text \\udcff.png")


def test_cells_of_every_tile_add_up(here, tiles):
    (tiles / "three.png").write_bytes(encoded(draw_tile(grid_of_centres(step=60))))
    analyze(tiles / "one.png", tiles / "three.png")
    for row in summary_of(here):
        assert sum(int(row[f"count_{k}"]) for k in range(5)) + int(row["outliers"]) == int(row["cells"]) > 0


def test_types_have_columns_of_their_own_where_the_bundle_knows_some(sample, shipped_bundle):
    plain = analysed(sample, load_bundle(shipped_bundle, threads=1))
    result, names = typed(plain), ["dark small", "pale large"]
    rows = [answered_row(Path("a.png"), result), failed_row(Path("b.png"), "because")]
    row, failed = csv.DictReader(io.StringIO(summary_table(rows, 5, names).decode(), newline=""))
    for one in result.types["types"]:
        assert int(row[f"type_count_{one.type}"]) == one.count > 0
        found = [float(row[f"type_{share}_{one.type}"]) for share in ("proportion", "low", "high")]
        assert found == [one.proportion, *one.interval]
    assert int(row["cells_without_type"]) == result.types["cells_without_type"] > 0
    assert float(row["myeloid_erythroid_ratio"]) == result.types["myeloid_erythroid_ratio"]
    assert failed["cells_without_type"] == failed["type_count_dark small"] == ""
    without = summary_table([answered_row(Path("a.png"), plain)], 5).decode().splitlines()[0]
    others = [name for name in row if not any(word in name for word in ("type", "ratio", "corrected"))]
    assert others == without.split(",")
