"""POST /classifiers: a bundle that was taught by names answers at once."""

import errno
import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import numpy as np
import pytest

from app.pipeline.bundle.names import name_cluster
from tests.api.answers import assert_problem, post_tile
from tests.api.test_reviews import ids, look, name, picture, put_in
from tests.review.seeing import tile
from tests.waiting import until

TILES = [tile(seed) for seed in range(3)]


@pytest.fixture
def settings(encoder_bundle, tmp_path):
    shutil.copytree(encoder_bundle, tmp_path / "models" / "seeing")
    return {"bundles_dir": tmp_path / "models", "bundle": "seeing", "reviews_dir": tmp_path / "reviews"}


@pytest.fixture
def lab(serve, settings):
    return serve(**settings)


@pytest.fixture
def named(lab):
    """Three tiles whose cells are named by their size."""
    for i, data in enumerate(TILES):
        assert put_in(lab, data, group=f"patient {i}").status_code == HTTPStatus.CREATED
    types = [{"name": "Small", "lineage": "erythroid"}, {"name": "Large", "color": "#445566"}]
    assert lab.put("/reviews/types", json={"types": types}).status_code == HTTPStatus.OK
    shown = look(lab, n=100, kind="random")["cells"]
    areas = {cell["id"]: (np.array(picture(cell["nucleus"])) < 250).any(axis=2).sum() for cell in shown}
    middle = (min(areas.values()) + max(areas.values())) / 2
    assert (
        name(lab, {cell: "Small" if n < middle else "Large" for cell, n in areas.items()}).status_code == HTTPStatus.OK
    )
    return lab


def teach(client, **wanted):
    return client.post("/classifiers", json={"name": "lab", **wanted})


def test_taught_bundle_answers_at_once_and_says_how_right_it_is(named, settings):
    response = teach(named, groups="patients")
    assert response.status_code == HTTPStatus.ACCEPTED, response.text
    assert response.headers["location"] == "bundles/lab"
    taught = response.json()
    assert ([one["name"] for one in taught["types"]], taught["version"]) == (["Small", "Large"], "1")
    assert (taught["validation"]["held_out"], taught["validation"]["groups"]) == ("patients", 3)
    assert taught["validation"]["accuracy"] > 0.8
    assert taught["types_warning"] is None
    card = named.get("/bundles/lab").json()
    assert card["sha256"] == taught["sha256"]
    answer = post_tile(named, TILES[0], bundle="lab").json()
    assert {one["type"]: one["color"] for one in answer["types"]}["Large"] == "#445566"
    assert sum(one["count"] for one in answer["types"]) + answer["cells_without_type"] > 20
    # The types go on in the review of the same cells, and to a next version.
    assert named.get("/reviews?bundle=lab").json()["n_named"] == named.get("/reviews").json()["n_named"]
    cell = ids(named)[0]
    name(named, {cell: "Large"}, bundle="lab")
    again = teach(named, **{"from": "lab"}).json()
    assert (again["version"], again["source"]["bundle_sha256"]) == ("2", taught["source"]["bundle_sha256"])
    source, made = (settings["bundles_dir"] / one / "q.onnx" for one in ("seeing", "lab"))
    assert source.read_bytes() == made.read_bytes()


@pytest.mark.parametrize(
    ("groups", "said", "found"),
    [
        ([None, None, None], None, "tiles"),
        ([None, None, None], "patients", "tiles"),
        (["a", "b", "c"], None, "tiles"),
        (["a", "b", None], None, "tiles"),
        (["a", "a", "b"], None, "groups"),
        (["a", "a", "b"], "slides", "slides"),
        (["a", "b", "c"], "patients", "patients"),
    ],
)
def test_groups_are_slides_or_patients_only_if_somebody_says_so(lab, groups, said, found):
    for data, group in zip(TILES, groups, strict=True):
        put_in(lab, data, **({"group": group} if group else {}))
    lab.put("/reviews/types", json={"types": [{"name": "Small"}, {"name": "Large"}]})
    cells = look(lab, n=100, kind="random")["cells"]
    name(lab, {cell["id"]: ("Small", "Large")[i % 2] for i, cell in enumerate(cells)})
    taught = teach(lab, **({"groups": said} if said else {})).json()
    assert taught["validation"]["held_out"] == found
    is_few = len({group or i for i, group in enumerate(groups)}) < 3
    assert taught["validation"]["optimistic"] == is_few
    warning = f"The named cells are of fewer than three {found}" if is_few else None
    card = lab.get("/bundles/lab").json()
    assert card["types_warning"] == taught["types_warning"]
    assert (taught["types_warning"] or "").startswith(warning or "")
    assert (warning is None) == (taught["types_warning"] is None)


def test_another_process_of_the_service_serves_it_too(named, serve, settings):
    other = serve(**settings)
    assert_problem(other.get("/bundles/lab"), 404)
    teach(named)
    other.app.state.analyzer.load_new()
    assert other.get("/bundles/lab").status_code == HTTPStatus.OK


def test_bundles_that_are_taught_have_a_folder_of_their_own_and_go_before_shipped_ones(
    serve, named, settings, tmp_path
):
    apart = {**settings, "taught_dir": tmp_path / "taught"}
    lab, other = serve(**apart), serve(**{**apart, "reviews_dir": None})
    assert teach(lab).json()["version"] == "1"
    assert [path.name for path in settings["bundles_dir"].iterdir()] == ["seeing"]
    assert [path.name for path in apart["taught_dir"].iterdir()] == ["lab"]
    assert [one["name"] for one in lab.get("/bundles").json()["bundles"]] == ["seeing", "lab"]
    until(lambda: other.get("/bundles/lab").status_code == HTTPStatus.OK)  # It holds no review, and finds it by itself.
    assert post_tile(other, TILES[0], bundle="lab").json()["bundle"]["name"] == "lab"
    assert_problem(teach(lab, name="seeing"), 422, "exists", "no cell classifier")
    # A release that ships a bundle of this name changes nothing for those who have taught theirs.
    shutil.copytree(settings["bundles_dir"] / "seeing", settings["bundles_dir"] / "lab")
    again = serve(**apart)
    assert again.get("/bundles/lab").json()["sha256"] == lab.get("/bundles/lab").json()["sha256"]
    assert teach(again).json()["version"] == "2"


@pytest.mark.parametrize(
    ("wanted", "status", "words"),
    [
        ({"name": "seeing"}, 422, ["exists", "no cell classifier"]),
        ({"name": "../lab"}, 422, ["name"]),
        ({"from": "none"}, 404, ["no bundle of that name"]),
        ({"frm": "seeing"}, 422, ["frm", "no such field"]),
        ({"groups": "cells"}, 422, ["groups"]),
    ],
)
def test_what_cannot_be_taught_so(named, settings, wanted, status, words):
    refused = teach(named, **wanted)
    assert_problem(refused, status, *words)
    assert str(settings["bundles_dir"]) not in refused.text
    assert [path.name for path in settings["bundles_dir"].iterdir()] == ["seeing"]


def test_too_few_names_are_said(lab):
    put_in(lab, TILES[0])
    assert_problem(teach(lab), 422, "No cell of this bundle has a name yet")
    lab.put("/reviews/types", json={"types": [{"name": "Small"}, {"name": "Large"}]})
    cells = ids(lab)
    name(lab, dict.fromkeys(cells[:9], "Small"))
    assert_problem(teach(lab), 422, "9 cells are named; at least 10")
    name(lab, dict.fromkeys(cells[:12], "Small"))
    assert_problem(teach(lab), 422, "the one type 'Small'")
    name(lab, dict.fromkeys(cells[12:14], "Large"))
    assert_problem(teach(lab), 422, "Fewer than 5 cells have the type 'Large' (2)")


def test_rare_type_is_left_out_and_keeps_its_names(named):
    named.put(
        "/reviews/types", json={"types": [{"name": "Small"}, {"name": "Large"}, {"name": "Rare"}]}
    ).raise_for_status()
    name(named, dict.fromkeys(ids(named, kind="named")[:2], "Rare"))
    assert_problem(teach(named), 422, "'Rare' (2)")
    assert_problem(teach(named, leave_out=["rare"]), 422, "leave_out names 'rare', and there is no such cell type")
    assert_problem(teach(named, leave_out=["Rare", "Small", "Large"]), 422, "Every named cell has a type that is left")
    taught = teach(named, leave_out=["Rare"]).json()
    assert [one["name"] for one in taught["types"]] == ["Small", "Large"]
    assert [one["count"] for one in named.get("/reviews").json()["types"]][2] == 2


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk of the bundles is full"), (errno.EROFS, "MARROWSCOPE_BUNDLES_DIR")]
)
def test_bundle_that_cannot_be_written_leaves_nothing(named, settings, monkeypatch, code, words):
    def fail(*_):
        raise OSError(code, "no")

    before = named.get("/reviews").json()
    monkeypatch.setattr("app.review.bundle.shutil.copyfile", fail)
    assert_problem(teach(named), 503, words, "all names are kept")
    assert [path.name for path in settings["bundles_dir"].iterdir()] == ["seeing"]
    assert named.get("/reviews").json() == before
    monkeypatch.undo()
    assert teach(named).status_code == HTTPStatus.ACCEPTED


def test_source_that_was_changed_since_it_was_loaded_is_not_taught(named, settings):
    """Its names are of cells that other networks have found, or at another scale."""
    models = settings["bundles_dir"]
    version = teach(named).json()["sha256"]
    path, network = models / "seeing" / "manifest.json", models / "seeing" / "q.onnx"
    before, made = path.read_bytes(), network.read_bytes()
    path.write_bytes(before.replace(b'"mpp": 0.25', b'"mpp": 0.5'))
    assert path.read_bytes() != before
    refused = [teach(named), teach(named, name="other")]
    path.write_bytes(before)
    for one in refused:
        assert_problem(one, 503, "seeing/manifest.json was changed after the bundle was loaded", "names are kept")
    network.write_bytes(made[:-1] + b"!")
    refused = [teach(named), teach(named, name="other")]
    network.unlink()
    refused += [teach(named), teach(named, name="other")]
    for one, words in zip(refused, ["has been altered"] * 2 + ["does not fit"] * 2, strict=True):
        assert_problem(one, 503, "A copy of seeing that knows the types cannot be loaded", words, "names are kept")
    assert sorted(one.name for one in models.iterdir()) == ["lab", "seeing"]
    assert hashlib.sha256((models / "lab" / "manifest.json").read_bytes()).hexdigest() == version
    assert (models / "lab" / "q.onnx").read_bytes() == made
    assert post_tile(named, TILES[0], bundle="lab").json()["bundle"]["sha256"] == version
    network.write_bytes(made)
    assert teach(named).json()["version"] == "2"


def test_bundle_whose_clusters_were_named_since_it_was_loaded_is_taught(named, settings):
    """Cells do not depend on the names of clusters, and the new bundle has them."""
    name_cluster(settings["bundles_dir"] / "seeing", 1, "round", by="Ann", cells=None)
    response = teach(named)
    assert response.status_code == HTTPStatus.ACCEPTED, response.text
    assert post_tile(named, TILES[0], bundle="lab").json()["clusters"][1]["name"] == "round"
    assert named.get("/reviews?bundle=lab").json()["n_named"] == named.get("/reviews").json()["n_named"]


def test_two_who_teach_at_once_get_a_version_each(named, serve, settings):
    clients = [named, serve(**settings)]
    with ThreadPoolExecutor(4) as pool:
        answers = [one.json() for one in pool.map(teach, clients * 3)]
    assert sorted(one["version"] for one in answers) == list("123456")
    assert len({one["sha256"] for one in answers}) == 6
    last = max(answers, key=lambda one: one["version"])
    path = settings["bundles_dir"] / "lab" / "manifest.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == last["sha256"]
    assert sorted(one.name for one in settings["bundles_dir"].iterdir()) == ["lab", "seeing"]


def test_deleted_tile_is_forgotten_by_the_next_classifier(named):
    sha = hashlib.sha256(TILES[0]).hexdigest()
    assert teach(named).json()["source"]["tiles"] == 3
    named.delete(f"/reviews/tiles/{sha}")
    assert teach(named).json()["source"]["tiles"] == 2
