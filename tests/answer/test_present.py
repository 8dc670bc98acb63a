"""What a format does not show is not made for it."""

import json

import pytest

from app.answer import present
from app.answer.formats import FORMATS
from tests.answer.rendering import analysed, render
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
