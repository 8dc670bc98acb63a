"""The review over HTTP: tiles are put in, cells are looked at and named, by several people, and nothing is lost."""

import base64
import hashlib
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import event

import app.service
from tests.api.answers import assert_problem
from tests.encoder_bundle import make_encoder_bundle
from tests.keys_file import write_keys
from tests.review.seeing import seeing_bundle, tile

TILE, OTHER = tile(0), tile(1)
SHA = hashlib.sha256(TILE).hexdigest()
TYPES = [{"name": "Small", "color": "#112233", "lineage": "myeloid"}, {"name": "Large", "color": "#445566"}]


@pytest.fixture
def bundles(monkeypatch, manifest_values):
    """What is loaded for the bundle `marrow`; a test may put another version in its place."""
    loaded = {"marrow": seeing_bundle(manifest_values)}
    monkeypatch.setattr(app.service, "load_bundle", lambda *_: loaded["marrow"])
    return loaded


@pytest.fixture
def lab(serve, bundles, tmp_path):
    return serve(reviews_dir=tmp_path / "reviews")


@pytest.fixture
def begun(lab):
    """A review with a tile and two types."""
    assert put_in(lab).status_code == HTTPStatus.CREATED
    assert lab.put("/reviews/types", json={"types": TYPES}).status_code == HTTPStatus.OK
    return lab


def put_in(client, data=TILE, **query):
    return client.post("/reviews/tiles", files={"tile": ("t.png", data)}, params=query)


def look(client, **query):
    response = client.get("/reviews/next", params=query)
    assert response.status_code == HTTPStatus.OK, response.text
    return response.json()


def ids(client, **query):
    return [cell["id"] for cell in look(client, **{"n": 100, **query})["cells"]]


def name(client, names, reviewer=None, **query):
    body = {"names": [{"cell": cell, "type": kind} for cell, kind in names.items()]}
    return client.post("/reviews", json=body | ({"reviewer": reviewer} if reviewer else {}), params=query)


def by_side(client):
    """Every cell with the type that its side of the tile has: small to the left, large to the right."""
    shown = look(client, n=100, kind="random")["cells"]
    features = {cell["id"]: (np.array(picture(cell["nucleus"])) < 250).all(axis=2).sum() for cell in shown}
    middle = np.mean(list(features.values()))
    return {cell: "Small" if n < middle else "Large" for cell, n in features.items()}


def picture(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_service_without_the_setting_says_so(client):
    for response in (
        client.get("/reviews"),
        client.get("/reviews/next"),
        client.get("/reviews/plot"),
        client.get("/reviews/export", params={"tile": SHA}),
        client.post("/reviews", json={"names": [{"cell": "a", "type": None}]}),
        client.put("/reviews/types", json={"types": []}),
        client.post("/classifiers", json={"name": "lab"}),
        client.delete(f"/reviews/tiles/{SHA}"),
        client.delete("/reviews/reviewers/Ann"),
        put_in(client),
    ):
        assert_problem(response, 404, "MARROWSCOPE_REVIEWS_DIR")


def test_bundle_without_features_is_refused_with_the_reason(serve, tmp_path, shipped_bundle):
    make_encoder_bundle(shipped_bundle, tmp_path / "models" / "blind", has_features=False)
    lab = serve(reviews_dir=tmp_path / "reviews", bundles_dir=tmp_path / "models", bundle="blind")
    assert_problem(put_in(lab), 422, "gives no features of cells")
    assert "gives no features" in lab.get("/reviews").json()["bundle"]["unusable"]


def test_empty_review_has_nothing_but_suggestions(lab):
    found = lab.get("/reviews").json()
    assert (found["types"], found["tiles"], found["reviewers"], found["agreement"]) == ([], [], [], [])
    assert (found["n_cells"], found["n_named"], found["earlier"], found["bundle"]["unusable"]) == (0, 0, None, None)
    assert "Lymphocyte" in [one["name"] for one in found["suggestions"]]
    assert look(lab) == {
        "cells": [],
        "n_left": 0,
        "learned_from": None,
        "reason": "No tile is in the review of this bundle yet.",
    }
    assert lab.get("/reviews/plot").json() == {"cells": [], "n_cells": 0}


def test_tile_is_put_in_once(lab):
    first = put_in(lab, name="Tile 7", group="patient 3", mpp=0.25)
    assert first.status_code == HTTPStatus.CREATED
    kept = first.json()
    assert (kept["sha256"], kept["name"], kept["group"], kept["mpp"]) == (SHA, "Tile 7", "patient 3", 0.25)
    again = put_in(lab, name="another name")
    assert (again.status_code, again.json()) == (HTTPStatus.OK, kept)
    (listed,) = lab.get("/reviews").json()["tiles"]
    assert listed == {**kept, "n_named": 0}


def test_cells_are_shown_with_both_pictures(begun):
    found = look(begun, n=5)
    assert len(found["cells"]) == 5
    assert found["n_left"] == begun.get("/reviews").json()["n_cells"] - 5
    for cell in found["cells"]:
        assert picture(cell["nucleus"]).size == picture(cell["field"]).size == (32, 32)
        assert cell["tile"] == SHA
        assert (cell["type"], cell["suggested"], cell["names"]) == (None, [], [])


@pytest.mark.parametrize("kind", ["core", "border", "random"])
def test_cells_that_the_reviewer_has_named_do_not_come_again(begun, kind):
    before = ids(begun, kind=kind, seed=3)
    name(begun, dict.fromkeys(before[:7], "Small"), "Ann")
    left = ids(begun, kind=kind, seed=3, reviewer="Ann")
    assert sorted(left) == sorted(before[7:])
    assert kind != "random" or left == before[7:]
    assert ids(begun, kind=kind, seed=3, reviewer="Bo") == before


def test_cells_of_one_cluster_and_page_by_page(begun):
    every = look(begun, n=100)["cells"]
    for cluster in {cell["cluster"] for cell in every}:
        members = [cell["id"] for cell in every if cell["cluster"] == cluster]
        assert ids(begun, cluster=cluster) == members
    assert ids(begun, n=3, skip=3) == [cell["id"] for cell in every[3:6]]
    assert_problem(begun.get("/reviews/next?cluster=99"), 422, "cluster must be 0 to 4")
    assert ids(begun, cells=f"{every[4]['id']},{every[1]['id']}") == [every[4]["id"], every[1]["id"]]
    assert_problem(begun.get(f"/reviews/next?cells={'0' * 32}"), 404, "1 of the 1 cells")


def test_names_are_counted_and_taken_back(begun):
    one, two, three, *_ = ids(begun)
    found = name(begun, {one: "Small", two: "Small", three: "Large"}).json()
    assert [(each["name"], each["count"]) for each in found["types"]] == [("Small", 2), ("Large", 1)]
    assert found["reviewers"] == [{"name": "reviewer", "n_names": 3}]
    assert (found["n_named"], found["tiles"][0]["n_named"]) == (3, 3)
    found = name(begun, {one: None}).json()
    assert [each["count"] for each in found["types"]] == [1, 1]
    assert found == begun.get("/reviews").json()
    (shown,) = look(begun, cells=two)["cells"]
    assert shown["type"] == "Small"


def test_names_survive_the_service(serve, bundles, tmp_path):
    first = serve(reviews_dir=tmp_path)
    put_in(first)
    first.put("/reviews/types", json={"types": TYPES})
    cells = ids(first)
    before = name(first, dict.fromkeys(cells[:4], "Large")).json()
    assert serve(reviews_dir=tmp_path).get("/reviews").json() == before


def test_two_reviewers_have_names_of_their_own_and_their_agreement_is_known(begun):
    cells = ids(begun)[:8]
    ann = {cell: "Small" if i < 4 else "Large" for i, cell in enumerate(cells)}
    bo = {**ann, cells[0]: "Large", cells[7]: "Small"}
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda given: name(begun, *given), [(ann, "Ann"), (bo, "Bo")]))
    assert [response.status_code for response in found] == [200, 200]
    progress = begun.get("/reviews").json()
    assert progress["reviewers"] == [{"name": "Ann", "n_names": 8}, {"name": "Bo", "n_names": 8}]
    assert progress["agreement"] == [{"reviewers": ["Ann", "Bo"], "n_cells": 8, "n_same": 6, "kappa": 0.5}]
    assert (progress["n_named"], progress["n_disagreed"]) == (8, 2)
    shown = look(begun, kind="disagreed", reviewer="Ann")["cells"]
    assert {cell["id"] for cell in shown} == {cells[0], cells[7]}
    assert all({each["reviewer"] for each in cell["names"]} == {"Ann", "Bo"} for cell in shown)
    assert {cell["id"] for cell in look(begun, kind="disagreed", cluster=shown[0]["cluster"])["cells"]} <= {
        cells[0],
        cells[7],
    }
    deleted = begun.delete("/reviews/reviewers/Bo").json()
    assert deleted == {"n_cells": 0, "n_names": 8}
    assert begun.get("/reviews").json()["agreement"] == []
    assert_problem(begun.delete("/reviews/reviewers/Bo"), 404, "No cell has a name by")


def test_where_two_tie_the_later_name_counts(begun):
    cell = ids(begun)[0]
    name(begun, {cell: "Small"}, "Ann")
    counts = [
        [each["count"] for each in name(begun, {cell: kind}, who).json()["types"]]
        for kind, who in (("Large", "Bo"), ("Small", "Cy"))
    ]
    assert counts == [[0, 1], [1, 0]]


def test_uncertain_cells_are_known_when_two_types_have_five_each(begun):
    waiting = look(begun, kind="uncertain")
    assert waiting["cells"] == []
    assert "at least two types have 5 named cells each" in waiting["reason"]
    sides = by_side(begun)
    some = {kind: [cell for cell, side in sides.items() if side == kind][:6] for kind in ("Small", "Large")}
    name(begun, {cell: kind for kind, cells in some.items() for cell in cells})
    found = look(begun, kind="uncertain", n=100)
    assert found["learned_from"] == 12
    largest = [cell["suggested"][0]["probability"] for cell in found["cells"]]
    assert largest == sorted(largest)
    named = {cell for cells in some.values() for cell in cells}
    assert not named & {cell["id"] for cell in found["cells"]}
    right = [cell["suggested"][0]["type"] == sides[cell["id"]] for cell in found["cells"] if cell["id"] in sides]
    assert np.mean(right) > 0.9
    of_type = look(begun, kind="core", type="Large", n=100)["cells"]
    assert of_type
    assert all(cell["suggested"][0]["type"] == "Large" for cell in of_type)
    assert_problem(begun.get("/reviews/next?type=Odd"), 422, "no cell type 'Odd'")


def test_a_type_that_names_cells_cannot_vanish_by_mistake(begun):
    cell = ids(begun)[0]
    name(begun, {cell: "Small"})
    assert_problem(begun.put("/reviews/types", json={"types": TYPES[1:]}), 409, "'Small' (1)", "delete_names=true")
    renamed = [{"name": "Tiny", "was": "Small"}, TYPES[1]]
    found = begun.put("/reviews/types", json={"types": renamed}).json()
    assert [(one["name"], one["color"], one["count"]) for one in found["types"]] == [
        ("Tiny", "#112233", 1),
        ("Large", "#445566", 0),
    ]
    found = begun.put("/reviews/types?delete_names=true", json={"types": TYPES[1:]}).json()
    assert ([one["name"] for one in found["types"]], found["n_named"]) == (["Large"], 0)


def test_types_without_a_colour_get_one_that_none_has(lab):
    names = ["A", "B: c", "  D  "]
    found = lab.put("/reviews/types", json={"types": [{"name": one} for one in names]}).json()["types"]
    assert [one["name"] for one in found] == ["A", "B: c", "D"]
    assert len({one["color"] for one in found}) == 3


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ("", "character"),
        ("x" * 61, "characters"),
        ("a\nb", "printable"),
        ("a\u202eb", "printable"),
        ("=1+1", "begin with ="),
        ("Region*", "end in *"),
        ("cluster 3", "without a type"),
        ("OUTLIER", "without a type"),
    ],
)
def test_names_that_no_type_can_have(lab, wrong, word):
    assert_problem(lab.put("/reviews/types", json={"types": [{"name": wrong}]}), 422, word)
    assert lab.get("/reviews").json()["types"] == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 415, ["application/json"]),
        (b"{", 400, ["not JSON"]),
        (b"[" * 100_000, 400, []),
        (b'"x"', 422, []),
        (b'{"names": []}', 422, ["names"]),
        (b'{"names": [{"cell": "a"}]}', 422, ["names.0.type"]),
        (b'{"names": [{"cell": "a", "type": null, "typ": 1}]}', 422, ["names.0.typ", "no such field"]),
        (b'{"names": [{"cell": "a", "type": null}], "reviewer": "a\\u0000b"}', 422, ["printable"]),
        (b'{"names": [{"cell": "a", "type": null}], "reviewer": "' + b"x" * 81 + b'"}', 422, ["reviewer"]),
        (b'{"names": [{"cell": "a", "type": null}, {"cell": "a", "type": "Small"}]}', 422, ["only once"]),
        (b'{"names": [{"cell": "a", "type": "Small"}]}', 422, ["1 of the 1 cells are not in the review"]),
        (b'{"names": [{"cell": "\\ud800", "type": null}]}', 422, []),
        (b" " * (2 * 1024**2 + 1), 413, ["2097152"]),
    ],
)
def test_bodies_that_are_refused(begun, body, status, words):
    headers = {} if status == 415 else {"Content-Type": "application/json"}
    assert_problem(begun.post("/reviews", content=body, headers=headers), status, *words)


def test_unknown_type_among_right_ones_keeps_nothing(begun):
    one, two, *_ = ids(begun)
    assert_problem(
        name(begun, {one: "Small", two: "Odd"}), 422, "no cell type 'Odd'", "'Small', 'Large'", "Nothing was kept"
    )
    assert begun.get("/reviews").json()["n_named"] == 0


def test_bundle_that_changed_since(begun, serve, bundles, manifest_values, tmp_path):
    cells = ids(begun)
    name(begun, dict.fromkeys(cells[:5], "Small"))
    geojson = begun.get("/reviews/export", params={"tile": SHA}).content
    bundles["marrow"] = seeing_bundle(manifest_values, "b" * 64)
    changed = serve(reviews_dir=tmp_path / "reviews")
    progress = changed.get("/reviews").json()
    assert (progress["n_cells"], progress["n_named"], progress["tiles"]) == (0, 0, [])
    assert (progress["earlier"]["n_cells"], progress["earlier"]["n_named"]) == (len(cells), 5)
    assert_problem(name(changed, {cells[6]: "Small"}), 409, "the bundle may have changed since", "Nothing was kept")
    # The names are still there, and go to the new cells.
    assert put_in(changed).status_code == HTTPStatus.CREATED
    assert changed.get("/reviews/export", params={"tile": SHA}).content == geojson
    sent = changed.post("/reviews/import", params={"tile": SHA}, files={"cells": ("a.geojson", geojson)})
    assert sent.json() == {"n_named": 5, "n_changed": 5, "n_unmatched": 0, "unmatched": []}
    assert changed.get("/reviews").json()["n_named"] == 5
    assert changed.delete(f"/reviews/tiles/{SHA}").json() == {"n_cells": 2 * len(cells), "n_names": 10}
    assert changed.get("/reviews").json()["earlier"] is None


def test_export_is_what_qupath_imports(begun):
    one, two, *_ = ids(begun)
    name(begun, {one: "Small", two: "Large"}, "Ann")
    response = begun.get("/reviews/export", params={"tile": SHA})
    assert response.headers["content-type"] == "application/geo+json"
    features = response.json()["features"]
    assert {feature["properties"]["classification"]["name"] for feature in features} == {"Small", "Large"}
    for feature in features:
        (ring, *_) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert feature["properties"]["objectType"] == "detection"
    assert_problem(begun.get("/reviews/export", params={"tile": "0" * 64}), 404, "no such tile")


def points(*named):
    return json.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "geometry": {"type": "Point", "coordinates": [x, y]},
                    "properties": {"objectType": "annotation", "classification": {"name": kind, "color": [1, 2, 3]}},
                }
                for x, y, kind in named
            ],
        }
    ).encode()


def test_points_name_cells_and_what_does_not_match_is_said(begun):
    sent = begun.post(
        "/reviews/import", params={"tile": SHA}, files={"cells": points((22, 25, "Small"), (3, 318, "Small"))}
    ).json()
    assert (sent["n_named"], sent["n_changed"], sent["n_unmatched"]) == (1, 1, 1)
    (lost,) = sent["unmatched"]
    assert "'Small' at (3, 318)" in lost
    assert begun.get("/reviews").json()["n_named"] == 1


def test_import_that_cannot_be_used_keeps_nothing(begun):
    put_in(begun, OTHER)
    other = hashlib.sha256(OTHER).hexdigest()
    name(begun, {ids(begun)[0]: "Small"})
    of_another = begun.get(
        "/reviews/export", params={"tile": look(begun, cells=ids(begun, reviewer="x")[0])["cells"][0]["tile"]}
    )
    before = begun.get("/reviews").json()

    def send(data, sha=SHA, **query):
        return begun.post("/reviews/import", params={"tile": sha, **query}, files={"cells": data})

    wrong = {SHA: other, other: SHA}[of_another.json()["tile"]["sha256"]]
    assert_problem(send(of_another.content, wrong), 422, "another file")
    assert_problem(send(points((22, 25, "Small"), (4000, 25, "Small"))), 422, "outside the tile")
    assert_problem(send(points((22, 25, "Odd"))), 422, "no cell type 'Odd'")
    assert_problem(send(points((22, 25, "Small"), (23, 25, "Large"))), 422, "Contradictory")
    assert_problem(send(b"\x89PNG"), 422)
    assert_problem(send(b"{}"), 422)
    assert_problem(send(b""), 422, "empty")
    assert_problem(send(points((3, 318, "Small"))), 422, "names a cell of this tile")
    assert_problem(send(points((22, 25, "Small")), "0" * 64), 404, "put it in first")
    assert begun.get("/reviews").json() == before
    assert send(points((22, 25, "Odd")), add_types=True).status_code == HTTPStatus.OK
    assert begun.get("/reviews").json()["types"][-1]["color"] == "#010203"


def feature(geometry, classification="Small", **properties):
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": classification, **properties}}


HERE = {"type": "Point", "coordinates": [22, 25]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Dear colleague", ["not GeoJSON"]),
        (b"{", ["not GeoJSON"]),
        (b"\xff\xfe{\x00", ["UTF-16"]),
        (b"\x00\x01\x02", []),
        (b"[" * 100_000, []),
        (b"null", ["not GeoJSON"]),
        (b"[]", ["names a cell of this tile"]),
        ([1, 2], ["not GeoJSON"]),
        ({"type": "FeatureCollection", "features": "all"}, ["not GeoJSON"]),
        ({"type": "FeatureCollection", "features": []}, ["names a cell of this tile"]),
        ([feature(None)], ["without a point or a polygon"]),
        ([feature(HERE, None)], ["without a classification"]),
        ([feature(HERE, "Region*")], ["which QuPath ignores"]),
        ([feature(HERE, "Cluster 3")], ["named by nobody"]),
        ([feature({"type": "Point", "coordinates": ["a", 5]})], []),
        ([feature({"type": "Point", "coordinates": [4000, 5]})], ["outside the tile"]),
        ([feature({"type": "Polygon", "coordinates": [[[1, 1], [2, 2]]]})], []),
        ([feature({"type": "Polygon", "coordinates": 7})], []),
        ([feature(HERE, "=1+1")], ["begin with ="]),
        ([feature(HERE, "x" * 61)], ["1 to 60 characters"]),
        ([feature(HERE, "a\u202eb")], ["printable"]),
        ([feature(HERE, "small")], ["a name of its own"]),
        ([feature(HERE, {"name": ["Small"], "color": [10**30, -1, True]}), feature(HERE, "Large")], ["Contradictory"]),
        ({"tile": {"sha256": "0" * 64}, "type": "FeatureCollection", "features": [feature(HERE)]}, ["another file"]),
    ],
)
def test_geojson_that_names_no_cell_is_refused_with_the_reason(begun, content, words):
    before = begun.get("/reviews").json()
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    sent = begun.post("/reviews/import", params={"tile": SHA, "add_types": True}, files={"cells": ("a.geojson", data)})
    assert_problem(sent, 422, *words)
    assert begun.get("/reviews").json() == before


def test_geojson_that_is_too_large_is_refused(serve, bundles, tmp_path):
    lab = serve(reviews_dir=tmp_path / "reviews", max_bytes=1_000_000)
    assert put_in(lab).status_code == HTTPStatus.CREATED
    large = json.dumps([feature(HERE)] * 20_000).encode()
    assert_problem(lab.post("/reviews/import", params={"tile": SHA}, files={"cells": large}), 413, "1000000")


def test_full_disk_is_said_and_the_store_stays_whole(begun):
    store = begun.app.state.reviews.store
    cells = ids(begun)
    before = name(begun, {cells[0]: "Small"}).json()

    @event.listens_for(store._engine, "begin")
    def no_more_pages(connection):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    assert_problem(put_in(begun, OTHER), 503, "disk of the review is full", "nothing was kept")
    assert begun.get("/reviews").json() == before


@pytest.fixture
def logged(serve, bundles, tmp_path):
    """A review with a tile and two types, and the path of its audit log."""
    path = tmp_path / "audit.jsonl"
    lab = serve(reviews_dir=tmp_path / "reviews", audit_log=path)
    put_in(lab)
    lab.put("/reviews/types", json={"types": TYPES})
    return lab, path


def test_nothing_changes_while_the_audit_log_cannot_be_written(logged, tmp_path):
    lab, path = logged
    before, (cell, *_) = lab.get("/reviews").json(), ids(lab)
    path.rename(tmp_path / "away")
    for refused in (
        name(lab, {cell: "Small"}),
        lab.put("/reviews/types", json={"types": []}),
        lab.delete(f"/reviews/tiles/{SHA}"),
        put_in(lab, OTHER),
        lab.post("/classifiers", json={"name": "lab"}),
    ):
        assert_problem(refused, 503, "audit log cannot be written", "nothing was changed")
    assert lab.get("/reviews").json() == before
    (tmp_path / "away").rename(path)
    assert name(lab, {cell: "Small"}).status_code == HTTPStatus.OK
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events == ["review", "review", "writable again", "review"]


def test_a_change_that_was_kept_but_not_logged_is_not_asked_for_again(logged, monkeypatch):
    lab, path = logged
    (cell, *_), write = ids(lab), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    assert_problem(name(lab, {cell: "Small"}), 500, "No space left", "is kept", "Do not send it again")
    assert_problem(name(lab, {cell: "Large"}), 503, "nothing was changed")
    monkeypatch.undo()
    assert lab.get("/reviews").json()["reviewers"] == [{"name": "reviewer", "n_names": 1}]
    assert look(lab, cells=cell)["cells"][0]["type"] == "Small"
    assert_problem(name(lab, {cell: "None"}), 422)
    events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
    assert events == ["review", "review", "writable again", "review"]


def test_with_keys_the_key_is_the_reviewer(serve, bundles, tmp_path):
    keys = write_keys(tmp_path / "keys.json", Ann="first-key", Bo="second-key")
    lab = serve(reviews_dir=tmp_path / "reviews", keys_file=keys, audit_log=tmp_path / "audit.jsonl")
    for refused in (lab.get("/reviews"), put_in(lab), name(lab, {"a": None}), lab.delete("/reviews/reviewers/Ann")):
        assert_problem(refused, 401)
    lab.headers["X-API-Key"] = "first-key"
    assert put_in(lab, name="Secret tile").json()["by"] == "Ann"
    lab.put("/reviews/types", json={"types": TYPES})
    cells = ids(lab)
    assert_problem(name(lab, {cells[0]: "Small"}, "Bo"), 422, "the reviewer is the name of the key")
    assert_problem(lab.get("/reviews/next?reviewer=Bo"), 422, "the reviewer is the name of the key")
    assert name(lab, {cells[0]: "Small"}).json()["reviewers"] == [{"name": "Ann", "n_names": 1}]
    lab.headers["X-API-Key"] = "second-key"
    assert lab.delete("/reviews/reviewers/Ann").json()["n_names"] == 1
    text = (tmp_path / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    logged = [(line["key"], line["method"], line["route"], line["status"], line["changed"]) for line in lines]
    assert logged == [
        (None, "POST", "/reviews/tiles", 401, None),
        (None, "POST", "/reviews", 401, None),
        (None, "DELETE", "/reviews/reviewers/{name}", 401, None),
        ("Ann", "POST", "/reviews/tiles", 201, {"n_cells": len(cells)}),
        ("Ann", "PUT", "/reviews/types", 200, {"n_types": 2}),
        ("Ann", "POST", "/reviews", 422, None),
        ("Ann", "POST", "/reviews", 200, {"n_names": 1}),
        ("Bo", "DELETE", "/reviews/reviewers/{name}", 200, {"n_names": 1}),
    ]
    assert lines[3]["tile_sha256"] == SHA
    assert "Small" not in text
    assert "Secret" not in text


def test_logs_hold_no_name_and_no_picture(begun, caplog):
    cells = ids(begun)
    with caplog.at_level("DEBUG"):
        name(begun, {cells[0]: "Small"}, "Ann Secret")
        begun.delete("/reviews/reviewers/Ann Secret")
        look(begun)
    own = [
        record.getMessage() + str(record.__dict__.get("fields", ""))
        for record in caplog.records
        if record.name.startswith("app")
    ]
    assert own
    assert not any("Secret" in text or "Small" in text or cells[0] in text for text in own)


def test_plot_has_a_place_for_every_cell(begun):
    cells = ids(begun)
    name(begun, {cells[0]: "Small"}, "Ann")
    found = begun.get("/reviews/plot", params={"reviewer": "Ann"}).json()
    assert found["n_cells"] == len(found["cells"]) == begun.get("/reviews").json()["n_cells"]
    placed = {cell["id"]: cell for cell in found["cells"]}
    assert placed[cells[0]]["type"] == "Small"
    for cell in look(begun, n=100)["cells"]:
        assert (placed[cell["id"]]["x"], placed[cell["id"]]["y"]) == (cell["x"], cell["y"])


def test_form_of_a_tile_is_explained(lab):
    assert_problem(lab.post("/reviews/tiles", files={"picture": TILE}), 400, "field `tile`; found", "`picture`")
    assert_problem(lab.post("/reviews/tiles", content=TILE), 415, "field `tile`")
    assert_problem(lab.post(f"/reviews/import?tile={SHA}", content=b"{}"), 415, "file in the field `cells`")
    assert_problem(put_in(lab, b"no picture"), 415)
    assert_problem(put_in(lab, name="a\x7fb"), 422, "printable")
    assert_problem(put_in(lab, group="x" * 201), 422, "group")
    assert_problem(put_in(lab, bundle="none"), 404, "no bundle")
    assert lab.get("/reviews").json()["tiles"] == []


def test_cells_are_listed_by_the_name_that_this_reviewer_gave(begun):
    one, two, three = ids(begun)[:3]
    name(begun, {one: "Small", two: "Large"}, "Ann")
    name(begun, {one: "Large", three: "Large"}, "Bo")
    assert set(ids(begun, kind="named", reviewer="Ann")) == {one, two}
    assert ids(begun, kind="named", type="Small", reviewer="Ann") == [one]
    assert set(ids(begun, kind="named", type="Large", reviewer="Bo")) == {one, three}
    assert look(begun, kind="named", reviewer="Cy")["reason"] == "This reviewer has named no such cell."
