"""The types of the cells in every form of the answer."""

import csv
import io
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.answer.palette import NO_TYPE, OUTLIER, hex_color
from app.answer.provenance import result_sha256
from app.answer.schemas import AnalysisOut
from app.pipeline.cell_types import CellTypes
from tests.answer.rendering import as_geojson, as_json, as_pixels, render
from tests.cell_classifiers import taught

COLORS = {"dark small": (0xD5, 0x5E, 0x00), "pale large": (0x00, 0x72, 0xB2)}


@pytest.fixture(scope="module")
def answer(typed_result):
    return as_json(typed_result)


def retyped(typed_result, types):
    """The result with other types, given by their numbers."""
    found = replace(typed_result.analysis.types, types=np.asarray(types, np.int64))
    return replace(typed_result, analysis=replace(typed_result.analysis, types=found))


def test_every_cell_has_its_type_and_the_probability_of_it(answer):
    sure, half = 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-4))
    for i, cell in enumerate(answer["cells"]):
        name, probability = [
            ("dark small", sure),
            ("pale large", sure),
            ("dark small", half),
            ("pale large", 1 / (1 + np.exp(-1))),
            (None, None),
        ][i % 5]
        assert cell["type"] == name
        assert cell["type_probability"] == (None if name is None else pytest.approx(probability, abs=1e-6))


def test_shares_are_counted_from_the_cells_of_the_answer(answer):
    found = Counter(cell["type"] for cell in answer["cells"] if not cell["outlier"])
    n_typed = found["dark small"] + found["pale large"]
    assert answer["cells_without_type"] == found[None] > 0
    for one in answer["types"]:
        assert one["count"] == found[one["type"]]
        assert one["proportion"] == pytest.approx(one["count"] / n_typed, abs=1e-9)
        assert one["interval"][0] < one["proportion"] < one["interval"][1]
    assert sum(one["proportion"] for one in answer["types"]) == pytest.approx(1, abs=1e-6)
    assert answer["myeloid_erythroid_ratio"] == pytest.approx(found["pale large"] / found["dark small"], abs=1e-6)


def test_types_are_named_and_coloured_as_the_bundle_says(answer):
    about = [(one["type"], one["color"], one["lineage"]) for one in answer["types"]]
    assert about == [("dark small", "#d55e00", "erythroid"), ("pale large", "#0072b2", "myeloid")]


def test_answer_without_a_classifier_is_what_it_was(result):
    answer = as_json(result)
    assert not {"types", "cells_without_type", "myeloid_erythroid_ratio"} & answer.keys()
    assert not any({"type", "type_probability"} & cell.keys() for cell in answer["cells"])
    typed = AnalysisOut.model_validate_json(render(result, "json"))
    assert (typed.types, typed.cells_without_type, typed.cells[0].type) == (None, None, None)


def test_types_are_all_that_a_classifier_adds_to_an_answer(result, answer):
    plain = as_json(result)
    added = {"types", "cells_without_type", "cells_sha256", "myeloid_erythroid_ratio"}
    cells = [{name: of for name, of in cell.items() if not name.startswith("type")} for cell in answer["cells"]]
    rest = {name: of for name, of in answer.items() if name not in added} | {"cells": cells}
    differing = {"result_sha256", "timing_ms"}
    assert {name: rest[name] for name in rest if name not in differing} == {
        name: plain[name] for name in plain if name not in differing
    }


def test_typed_answer_fits_its_schema(typed_result, answer):
    found = AnalysisOut.model_validate_json(render(typed_result, "json"))
    assert [cell.type for cell in found.cells] == [cell["type"] for cell in answer["cells"]]
    assert [one.type for one in found.types] == ["dark small", "pale large"]


def test_hash_of_the_result_covers_the_types(typed_result, answer):
    assert result_sha256(json.loads(render(typed_result, "json"))) == answer["result_sha256"] == typed_result.sha256
    types = typed_result.analysis.types.types.copy()
    types[0] = 1 - types[0]
    assert retyped(typed_result, types).sha256 != answer["result_sha256"]


def test_tile_without_cells_and_one_without_types_have_no_shares(typed_result, empty_result):
    none = CellTypes(np.zeros((0, 2)), np.zeros(0, np.int64))
    manifest = empty_result.bundle.manifest.model_copy(update={"cell_classifier": taught()})
    bundle = replace(empty_result.bundle, manifest=manifest)
    without = as_json(replace(empty_result, bundle=bundle, analysis=replace(empty_result.analysis, types=none)))
    assert (without["cells"], without["cells_without_type"]) == ([], 0)
    n = len(typed_result.cells)
    untyped = as_json(retyped(typed_result, np.full(n, -1)))
    assert untyped["cells_without_type"] == n - untyped["outliers"]["count"]
    for answer in (without, untyped):
        assert [(one["count"], one["proportion"], one["interval"]) for one in answer["types"]] == [(0, None, None)] * 2
        assert "myeloid_erythroid_ratio" not in answer


def test_table_has_two_more_columns(typed_result, result, answer):
    rows = list(csv.DictReader(io.StringIO(render(typed_result, "csv").decode(), newline=""), strict=True))
    for row, cell in zip(rows, answer["cells"], strict=True):
        assert row["type"] == (cell["type"] or "")
        assert row["type_probability"] == ("" if cell["type"] is None else str(cell["type_probability"]))
    plain = render(result, "csv").decode().splitlines()[0].split(",")
    assert [name for name in rows[0] if not name.startswith("type")] == plain


def test_type_that_looks_like_a_formula_is_harmless_in_the_table(typed_result):
    classifier = taught()
    types = (classifier.types[0].model_copy(update={"name": "=1+1"}), classifier.types[1])
    manifest = typed_result.bundle.manifest.model_copy(
        update={"cell_classifier": classifier.model_copy(update={"types": types})}
    )
    risky = replace(typed_result, bundle=replace(typed_result.bundle, manifest=manifest))
    assert b"'=1+1" in render(risky, "csv")
    assert b",=1+1" not in render(risky, "csv")


def test_qupath_gets_the_types_as_classifications(typed_result, answer):
    features = as_geojson(typed_result)["features"]
    for feature, cell in zip(features, answer["cells"], strict=True):
        found, measured = feature["properties"].get("classification"), feature["properties"]["measurements"]
        assert measured["Cluster"] == cell["cluster"]
        assert measured.get("Type probability") == cell["type_probability"]
        if cell["outlier"]:
            assert found == {"name": "Outlier", "color": list(OUTLIER)}
        elif cell["type"] is None:
            assert found is None
        else:
            assert found == {"name": cell["type"], "color": list(COLORS[cell["type"]])}


def test_outlines_have_the_colours_of_the_types(typed_result):
    drawn = as_pixels(typed_result, "overlay").reshape(-1, 3)

    def n_pixels(color):
        return int((drawn == color).all(axis=1).sum())

    n = len(typed_result.cells)
    of_first = as_pixels(retyped(typed_result, np.zeros(n)), "overlay").reshape(-1, 3)
    assert all(n_pixels(color) > 20 for color in COLORS.values())
    assert not (of_first == COLORS["pale large"]).all(axis=1).any()


def test_legend_of_the_picture_names_the_types(typed_result, answer):
    with Image.open(io.BytesIO(render(typed_result, "overlay"))) as image:
        lines = image.text["Description"].splitlines()
    assert lines[1:] == [
        *(f"{one['color']} {one['type']}: {one['count']} cells" for one in answer["types"]),
        f"{hex_color(NO_TYPE)} no type: {answer['cells_without_type']} cells",
        f"{hex_color(OUTLIER)} outliers: {answer['outliers']['count']} cells",
    ]
