"""Nothing that a client says under an unknown name is ignored."""

import json

import pytest

from tests.api.answers import assert_problem, post_tile
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.keys_file import write_keys

TILE = encoded(draw_tile(grid_of_centres()))
ID = "0" * 32
DECLARED = json.loads((REPOSITORY / "openapi.json").read_text(encoding="utf-8"))["paths"]
ROUTES = [
    (
        method.upper(),
        path.format(cluster=0, name="marrow", id=ID, path="a.csv", sha256="0" * 64),
        operation.get("parameters", []),
    )
    for path, methods in DECLARED.items()
    for method, operation in methods.items()
]


@pytest.fixture
def lab(serve, tmp_path):
    return serve(batches_dir=tmp_path / "batches")


def test_every_route_refuses_a_parameter_that_it_does_not_have_and_names_those_that_it_has(lab):
    assert len(ROUTES) > 10
    for method, path, parameters in ROUTES:
        known = [each["name"] for each in parameters if each["in"] == "query"]
        for wrong in ("mmpp", *(name.upper() for name in known)):
            refused = lab.request(method, path, params={wrong: "1"})
            assert_problem(refused, 422, f"no query parameter `{wrong}`", *(f"`{name}`" for name in known))


@pytest.mark.parametrize(
    ("wrong", "meant"), [("mmp", "mpp"), ("MPP", "mpp"), ("fomat", "format"), ("Bundle", "bundle")]
)
def test_the_parameter_that_was_meant_is_named(client, wrong, meant):
    assert_problem(post_tile(client, TILE, **{wrong: "0.5"}), 422, f"`{wrong}`; did you mean `{meant}`?")


def test_a_name_far_from_every_other_gets_no_guess(client):
    refused = post_tile(client, TILE, colour="red")
    assert_problem(refused, 422, "`colour`", "`mpp`")
    assert "did you mean" not in refused.json()["detail"]


def test_a_parameter_given_twice_is_refused(client):
    for query in ("mpp=0.5&mpp=0.25", "mpp=0.5&mpp=0.5"):
        refused = client.post(f"/analyze?{query}", files={"tile": TILE})
        assert_problem(refused, 422, "`mpp` is given 2 times")


def test_a_long_wrong_name_is_cut(client):
    assert len(client.get("/livez", params={"x" * 3000: "1"}).json()["detail"]) < 300


def test_a_key_is_asked_for_before_parameters_are_explained(serve, tmp_path):
    locked = serve(keys_file=write_keys(tmp_path / "keys.json", lab="a key"))
    assert_problem(locked.get("/prototypes/0?m=3"), 401)


def test_parameters_of_analyze_in_its_form_are_shown_where_they_belong(client):
    refused = client.post("/analyze", files={"tile": TILE}, data={"mpp": "0.5", "format": "csv", "note": "x"})
    assert_problem(
        refused, 400, "belongs in the query: /analyze?mpp=…", "/analyze?format=…", "text in the field `note`"
    )
    assert "?note" not in refused.json()["detail"]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"tale": ("a.png", TILE)}, "found a file in the field `tale`"),
        (
            {"image": ("a.png", TILE), "mask": ("b.png", TILE)},
            "a file in the field `image`, a file in the field `mask`",
        ),
        ({"tile": (None, "text")}, "text in the field `tile`"),
    ],
)
def test_a_form_without_its_file_is_told_what_came(client, files, found):
    assert_problem(client.post("/analyze", files=files), 400, "one file in the field `tile`", found)


def test_fields_of_the_form_of_a_batch_are_shown_where_they_belong(lab):
    refused = lab.post("/batches?mpp=0.5", files={"tiles": ("a.png", TILE)})
    assert_problem(refused, 422, "`mpp` belongs in the form of /batches")
    refused = lab.post("/analyze?tile=a.png", files={"tile": ("a.png", TILE)})
    assert_problem(refused, 422, "`tile` belongs in the form of /analyze")


def test_an_unknown_field_of_the_form_of_a_batch_is_named(lab):
    refused = lab.post("/batches", files={"tiles": ("a.png", TILE)}, data={"Mpp": "0.5"})
    assert_problem(refused, 422, "no form field `Mpp`; did you mean `mpp`?", "`tiles`")
