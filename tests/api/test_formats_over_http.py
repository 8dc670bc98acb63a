"""What POST /analyze answers in each format; what is in them is tested in tests/api/formats."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.api.answers import DECLARED, assert_problem, strict_json
from tests.drawing import draw_tile, encoded, grid_of_centres

TYPES = {
    "json": "application/json",
    "geojson": "application/geo+json",
    "dsa": "application/x.dsa-annotation+json",
    "csv": "text/csv; charset=utf-8",
    "overlay": "image/png",
    "labels": "image/png",
    "tile": "image/png",
}
TILE = encoded(draw_tile(grid_of_centres()))
EMPTY = encoded(draw_tile(np.zeros((0, 2)), shape=(50, 60)))


def ask(client, tile=TILE, accept=None, **query):
    headers = {} if accept is None else {"Accept": accept}
    return client.post("/analyze", files={"tile": ("tile.png", tile)}, params=query, headers=headers)


def pixels_of(response):
    with Image.open(io.BytesIO(response.content)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("form", TYPES)
def test_format_has_its_content_type(client, form):
    response = ask(client, format=form)
    assert response.status_code == 200
    assert response.headers["content-type"] == TYPES[form]


@pytest.mark.parametrize(
    ("accept", "form"), [(TYPES[form], form) for form in ("json", "geojson", "dsa", "csv", "overlay")]
)
def test_accept_says_the_same_as_format(client, accept, form):
    asked, named = ask(client, accept=accept), ask(client, format=form)
    assert asked.headers["content-type"] == named.headers["content-type"] == TYPES[form]
    if form != "json":
        assert asked.content == named.content


def test_format_goes_before_accept(client):
    assert ask(client, accept="image/jpeg", format="csv").headers["content-type"] == TYPES["csv"]


def test_client_that_accepts_anything_gets_json(client):
    response = ask(client, accept="*/*")
    assert response.headers["content-type"] == TYPES["json"]
    assert response.json()["cells"]


def test_what_cannot_be_given_is_406(client):
    assert_problem(ask(client, accept="image/jpeg"), 406, "image/png", "text/csv", "application/geo+json", "image/jpeg")


def test_unknown_format_is_422_and_names_the_known_ones(client):
    assert_problem(ask(client, format="pdf"), 422, "format", "pdf", *TYPES)


def test_formats_agree_on_the_number_of_cells(client):
    n = len(ask(client).json()["cells"])
    assert n == len(grid_of_centres())
    assert len(strict_json(ask(client, format="geojson").text)["features"]) == n
    assert len(strict_json(ask(client, format="dsa").text)["elements"]) == n
    assert len(list(csv.DictReader(io.StringIO(ask(client, format="csv").text)))) == n
    assert pixels_of(ask(client, format="labels")).max() == n


@pytest.mark.parametrize("form", TYPES)
def test_tile_without_cells_is_an_answer_in_every_format(client, form):
    response = ask(client, EMPTY, format=form)
    assert response.status_code == 200
    assert response.headers["content-type"] == TYPES[form]
    if TYPES[form] == "image/png":
        assert pixels_of(response).shape[:2] == (50, 60)


@pytest.mark.parametrize("form", TYPES)
def test_tile_that_cannot_be_read_is_a_problem_in_every_format(client, form):
    assert_problem(ask(client, b"no picture", format=form), 415)


def test_every_cluster_has_a_colour_of_its_own(client):
    colors = [cluster["color"] for cluster in ask(client).json()["clusters"]]
    assert len(set(colors)) == len(colors) == 5
    assert all(len(bytes.fromhex(color.removeprefix("#"))) == 3 and color[0] == "#" for color in colors)


@pytest.mark.parametrize("form", [form for form in TYPES if form != "json"])
def test_prototypes_are_drawn_for_json_only(client, form, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("drawn for nothing")

    monkeypatch.setattr("app.answer.present.prototypes", refuse)
    assert ask(client, format="json", prototypes=2).status_code == 500
    assert ask(client, format=form, prototypes=2).status_code == 200


def test_formats_and_406_are_declared():
    answers = DECLARED["/analyze"]["post"]["responses"]
    assert set(answers["200"]["content"]) == {kind.partition(";")[0] for kind in TYPES.values()}
    assert set(answers["406"]["content"]) == {"application/problem+json"}
    (parameter,) = (p for p in DECLARED["/analyze"]["post"]["parameters"] if p["name"] == "format")
    assert all(f'"{form}"' in json.dumps(parameter["schema"]) for form in TYPES)
