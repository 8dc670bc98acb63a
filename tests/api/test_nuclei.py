"""Nuclei that come with a tile over HTTP."""

import hashlib
import json

import pytest

from tests.api.answers import assert_problem, post_tile
from tests.drawing import draw_tile, encoded, grid_of_centres

TILE = encoded(draw_tile(grid_of_centres()))
DIFFER = ("request_id", "timing_ms", "result_sha256", "segmentation", "parameters")


def post(client, nuclei, tile=TILE, **query):
    return client.post("/analyze", files={"tile": ("tile.png", tile), "nuclei": ("n", nuclei)}, params=query)


def square(x, y, side=20):
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}


@pytest.mark.parametrize("form", ["geojson", "labels"])
def test_our_own_nuclei_give_the_answer_that_they_come_from(client, sample, sample_answer, form):
    nuclei = post_tile(client, sample, format=form).content
    answer = post(client, nuclei, sample).json()
    method = {"geojson": "geojson", "labels": "label_image"}[form]
    assert answer["segmentation"] == {"source": "upload", "method": method, "version": None}
    assert answer["parameters"].pop("nuclei_sha256") == hashlib.sha256(nuclei).hexdigest()
    assert answer["parameters"] == sample_answer["parameters"]
    assert answer["result_sha256"] != sample_answer["result_sha256"]
    flag = answer["quality"]["flags"].pop()
    assert (flag["code"], flag["prevents_label"]) == ("nuclei_uploaded", False)
    assert {name: value for name, value in answer.items() if name not in DIFFER} == {
        name: value for name, value in sample_answer.items() if name not in DIFFER
    }


def test_every_form_of_the_answer_is_about_the_uploaded_nuclei(client):
    nuclei = json.dumps([square(50, 60), square(500, 500)]).encode()
    cells = post(client, nuclei).json()["cells"]
    assert [cell["bbox"] for cell in cells] == [[50, 60, 70, 80]]
    collection = post(client, nuclei, format="geojson").json()
    assert collection["segmentation"]["method"] == "geojson"
    assert len(collection["features"]) == 1
    # A nucleus in the same place among other nuclei is another object.
    other = post(client, json.dumps([square(50, 60)]).encode(), format="geojson").json()
    assert other["features"][0]["id"] != collection["features"][0]["id"]
    assert post(client, nuclei, format="csv").text.count("\n") == 2


def test_bad_nuclei_are_a_problem_in_words(client):
    assert_problem(post(client, b"no nuclei"), 422, "neither GeoJSON nor a label image")
    assert_problem(post(client, b""), 422, "empty (0 bytes)")
    assert_problem(
        post(client, json.dumps([square(50, 60), square(1e12, 60)]).encode()), 422, "Feature 2 of the nuclei"
    )
    assert_problem(post(client, json.dumps([square(0, 0, 200)] * 20).encode()), 413, "times the area of the tile")


def test_a_field_for_which_a_browser_has_no_file_is_no_field(client):
    parts = [(b"tile", b"t.png", TILE), (b"nuclei", b"", b"")]
    form = b'--b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n'
    body = b"".join(form % part for part in parts) + b"--b--\r\n"
    answer = client.post("/analyze", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.json()["segmentation"]["source"] == "bundle"


def test_nuclei_belong_in_the_form_and_count_among_the_bytes_of_the_request(client, serve):
    refused = client.post("/analyze", files={"tile": TILE}, params={"nuclei": "n.geojson"})
    assert_problem(refused, 422, "`nuclei` belongs in the form of /analyze")
    refused = client.post("/analyze", files=[("tile", ("t", TILE)), *[("nuclei", ("n", b"[]"))] * 2])
    assert_problem(refused, 400, "a file in the field `nuclei`, a file in the field `nuclei`")
    small = serve(max_bytes=len(TILE) + 2000)
    assert post(small, b"[]").status_code == 200
    assert_problem(post(small, b"[" + b" " * 2000 + b"]"), 413, "bytes")
