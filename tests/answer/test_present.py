"""What a format does not show is not made for it; what the bundle says of its clusters is in the answer."""

import json
from dataclasses import replace

import pytest

from app.answer import present
from app.answer.formats import FORMATS
from tests.answer.rendering import analysed, as_json, render
from tests.descriptions import AREA, CLUMPS, ECCENTRICITY, described
from tests.drawing import draw_tile, encoded, grid_of_centres


@pytest.fixture
def fresh_result(bundle):
    """A result of which nothing has been made yet."""
    return analysed(encoded(draw_tile(grid_of_centres())), bundle)


def refuse(*_, **__):
    raise AssertionError("made for nothing")


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "json"])
def test_the_json_answer_is_made_for_json_only(fresh_result, monkeypatch, form):
    monkeypatch.setattr(present, "AnalysisOut", refuse)
    assert render(fresh_result, form)


@pytest.mark.parametrize("form", ["csv", "geojson", "labels", "tile"])
def test_outlines_are_made_for_json_and_pictures_only(fresh_result, monkeypatch, form):
    monkeypatch.setattr("app.pipeline.geometry.contours", refuse)
    assert render(fresh_result, form)


def test_the_hash_is_that_of_the_answer_as_it_is_sent(fresh_result):
    assert (
        json.loads(fresh_result.json())["result_sha256"] == fresh_result.sha256 == fresh_result.record().result_sha256
    )


def test_what_sets_a_cluster_apart_is_in_the_answer(sample_result):
    result = replace(sample_result, bundle=described(sample_result.bundle))
    for k, cluster in enumerate(as_json(result)["clusters"]):
        description = cluster["description"]
        assert (description["sentence"], description["n_cells"]) == (f"Large nuclei of {20 + k}.", 41)
        assert description["measurements"] == [
            {**AREA, "n": 40, "median": 20 + k, "quartiles": [19 + k, 21.5 + k], "effect": 0.4},
            {**ECCENTRICITY, "n": 41, "median": 0.5, "quartiles": [0.4, 0.6], "effect": -0.3},
            {**CLUMPS, "n": 0, "median": None, "quartiles": None, "effect": None},
        ]


def test_bundle_that_does_not_describe_its_clusters_gives_null(sample_result):
    manifest = sample_result.bundle.manifest.model_copy(update={"descriptions": None})
    result = replace(sample_result, bundle=replace(sample_result.bundle, manifest=manifest))
    assert [cluster["description"] for cluster in as_json(result)["clusters"]] == [None] * 5
