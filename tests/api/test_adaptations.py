"""POST /bundles: a bundle that is adapted to the tiles of a laboratory answers at once."""

import json
import time
from http import HTTPStatus

import numpy as np
import pytest

from tests.adapt.recoloured import recoloured_tiles
from tests.api.answers import assert_problem, post_tile
from tests.drawing import encoded
from tests.waiting import until

WHITE = encoded(np.full((300, 300, 3), 255, np.uint8))


@pytest.fixture(scope="module")
def tiles(bm_graz):
    return dict(list(recoloured_tiles(bm_graz, 700).items())[:3])


@pytest.fixture
def settings(shipped_bundle, tmp_path):
    return {"bundles_dir": shipped_bundle.parent, "taught_dir": tmp_path / "taught"}


@pytest.fixture
def lab(serve, settings):
    return serve(**settings)


def send(client, tiles, **fields):
    files = [("tiles", (name, data)) for name, data in tiles.items()]
    return client.post("/bundles", data={"name": "ours", **fields}, files=files or {"none": (None, "")})


def whites(n):
    return {f"{i}.png": WHITE for i in range(n)}


@pytest.mark.slow
def test_adapted_bundle_answers_at_once_and_has_a_report(serve, settings, tiles, tmp_path):
    lab = serve(**settings, audit_log=tmp_path / "audit.jsonl")
    assert lab.get("/bundles").json()["adapts"]
    response = send(lab, tiles)
    assert response.status_code == HTTPStatus.ACCEPTED, response.text
    assert response.headers["location"] == "bundles/ours"
    answer = response.json()
    assert (answer["name"], answer["version"], answer["source"], answer["tiles"]) == ("ours", "1", "marrow", 3)
    assert any(sentence.startswith("3 tiles are few") for sentence in answer["warnings"])
    # What becomes of the flags is for tests/adapt; the scale is given neither before nor after.
    assert answer["flags_before"]["mpp_unknown"] == answer["flags_after"]["mpp_unknown"] == 3
    assert answer["flags_before"] != answer["flags_after"]
    assert lab.get("/bundles/ours").json()["sha256"] == answer["sha256"]
    assert post_tile(lab, next(iter(tiles.values())), bundle="ours").json()["bundle"]["sha256"] == answer["sha256"]
    report = lab.get(f"/{answer['report']}")
    assert report.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in report.headers["content-security-policy"]
    assert "adapted to 3 tiles" in report.text
    assert [path.name for path in settings["taught_dir"].iterdir()] == ["ours"], "no tile is kept"
    line = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[0])
    assert (line["route"], line["status"], line["changed"]) == ("/bundles", 202, {"n_tiles": 3})
    assert_problem(send(lab, tiles, source="ours", name="third"), 422, "adapt marrow instead")


@pytest.mark.parametrize(
    ("n", "fields", "status", "words"),
    [
        (2, {}, 422, ["At least 3 files", "found 2"]),
        (51, {}, 422, ["at most 50 files"]),
        (3, {}, 422, ["cannot be distinguished"]),
        (3, {"source": "none"}, 404, ["no bundle of that name"]),
        (3, {"name": "../ours"}, 422, ["no name for a bundle"]),
        (3, {"name": "marrow"}, 422, ["A bundle 'marrow' exists", "choose another name"]),
        (3, {"mpp": "9"}, 422, ["mpp"]),
        (3, {"nmae": "x"}, 422, ["nmae", "did you mean `name`"]),
    ],
)
def test_what_cannot_be_adapted_is_refused(lab, settings, n, fields, status, words):
    refused = send(lab, whites(n), **fields)
    assert_problem(refused, status, *words)
    assert str(settings["bundles_dir"]) not in refused.text
    assert list(settings["taught_dir"].iterdir()) == [], "nothing is left"


def test_wrong_tile_is_named(serve, settings):
    lab = serve(**settings, max_pixels=100_000, max_bytes=20_000)
    assert_problem(send(lab, {**whites(2), "text.png": b"no picture"}), 415, "text.png")
    assert_problem(send(lab, {**whites(2), "long.png": b"x" * 30_000}), 413, "long.png", "20000 bytes")
    large = encoded(np.full((400, 400, 3), 255, np.uint8))
    assert_problem(send(lab, {**whites(2), "large.png": large}), 413, "large.png")
    assert list(settings["taught_dir"].iterdir()) == []


def test_form_is_refused_as_elsewhere(lab):
    assert_problem(lab.post("/bundles", json={}), 415, "multipart/form-data")
    assert_problem(lab.post("/bundles", data={"tiles": "text"}, files={"name": ("a", b"b")}), 400, "may not be")
    files = [("tiles", (name, data)) for name, data in whites(3).items()]
    assert_problem(lab.post("/bundles", files=files), 422, "needs the field `name`")


def test_adaptation_that_takes_too_long_leaves_nothing(serve, settings, monkeypatch):
    def slow(tiles, source, target, *, track, **_):
        for _ in track(tiles):
            time.sleep(0.5)
        (target / "written").mkdir(parents=True)

    monkeypatch.setattr("app.api.adaptations.adapt", slow)
    lab = serve(**settings, time_limit_s=0.2)
    assert_problem(send(lab, whites(3)), 504, "3 tiles took longer than 0.2 s")
    until(lambda: list(settings["taught_dir"].iterdir()) == [])
    time.sleep(1)
    assert list(settings["taught_dir"].iterdir()) == []


def test_folder_that_cannot_be_written_is_said(serve, settings):
    settings["taught_dir"].write_text("no folder")
    assert_problem(send(serve(**settings), whites(3)), 503, "MARROWSCOPE_TAUGHT_DIR")


def test_service_without_a_folder_adapts_nothing(client):
    assert not client.get("/bundles").json()["adapts"]
    assert_problem(send(client, whites(3)), 404, "MARROWSCOPE_TAUGHT_DIR")


def test_bundle_that_was_not_adapted_has_no_report(client):
    assert_problem(client.get("/bundles/marrow/report"), 404, "marrow has no report")
    assert_problem(client.get("/bundles/none/report"), 404, "no bundle of that name")
