import hashlib
import json
import shutil
from pathlib import Path

import pytest

from app import __version__
from app.openapi import document
from app.pipeline.manifest import Manifest
from tests.api.answers import DECLARED, assert_problem, post_tile
from tests.conftest import REPOSITORY


def test_bundles_lists_the_shipped_one_as_default(client, card):
    listed = client.get("/bundles").json()["bundles"]
    assert [(bundle["name"], bundle["default"]) for bundle in listed] == [("marrow", True)]
    assert listed[0] == {
        key: value for key, value in card.items() if key not in ("manifest", "network", "segmentation", "types_warning")
    }


def test_bundle_card_is_its_manifest(card, shipped_bundle):
    raw = (shipped_bundle / "manifest.json").read_bytes()
    assert card["sha256"] == hashlib.sha256(raw).hexdigest()
    assert card["manifest"] == Manifest.model_validate_json(raw).model_dump(mode="json")
    assert card["n_clusters"] == card["manifest"]["n_clusters"] == 5
    assert card["backend"] == "onnxruntime"
    assert card["device"] in {"cpu", "cuda"}


def test_bundle_card_says_where_it_comes_from_and_how_good_it_is(card):
    manifest = card["manifest"]
    assert all(source["licence"] and source["source"] for source in manifest["training"]["data"])
    assert manifest["licence"]
    assert "imulated" in manifest["image_level"]["label_basis"]
    assert len(manifest["metrics"]["clusters"]) == card["n_clusters"]
    assert manifest["fast"]["agreement"]["clusters"] >= 0.99
    assert set(manifest["files"]) >= {"q.onnx", "generator.onnx", "weights.safetensors"}


def test_bundle_card_says_in_plain_words_what_the_network_is(card):
    """As shipped: on an encoder, with clusters that were learned before the adversarial training."""
    text = card["network"]
    for said in ("stands on an encoder", "without labels", "Nobody has shown"):
        assert said in text
    explained = card["manifest"]["metrics"]["explained"]
    assert f"{explained['area']:.0%} of those in nuclear area" in text
    assert f"{explained['contrast']:.0%} in the contrast of" in text
    measured = card["manifest"]["q_calibration"]
    assert f"{measured['cells']} cells of {measured['tiles']} tiles" in text
    assert f"off by {measured['error_after']:.3f}" in text


def test_bundle_card_and_every_answer_say_what_finds_the_nuclei(card, sample_answer):
    manifest = card["manifest"]
    found_by = {
        "source": "bundle",
        "method": manifest["segmentation"]["preset"],
        "version": f"marrow {manifest['version']}",
    }
    assert card["segmentation"] == sample_answer["segmentation"] == found_by


def test_service_is_alive_and_ready(client):
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_bare_address_leads_a_browser_somewhere(client):
    response = client.get("/", follow_redirects=True)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")


def test_docs_are_a_page(client):
    response = client.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "/openapi.json" in response.text


def test_openapi_in_the_repository_is_what_is_served(client):
    served = client.get("/openapi.json").json()
    written = (REPOSITORY / "openapi.json").read_text(encoding="utf-8")
    assert json.loads(written) == served == client.app.openapi()
    assert written == document()
    assert served["info"]["version"] == __version__


def test_openapi_names_every_endpoint_of_the_contract():
    wanted = {
        "/analyze": {"post"},
        "/prototypes": {"get"},
        "/prototypes/{cluster}": {"get"},
        "/bundles": {"get", "post"},
        "/bundles/{name}": {"get"},
        "/livez": {"get"},
        "/readyz": {"get"},
    }
    assert {path: set(DECLARED[path]) for path in wanted} == wanted


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/analyze", "post", "200 400 401 404 405 413 415 422 500 503 504"),
        ("/prototypes/{cluster}", "get", "200 401 404 405 422 500 503 504"),
        ("/prototypes", "get", "200 401 404 405 422 500 503 504"),
        ("/bundles/{name}", "get", "200 401 404 405 500 503"),
        ("/readyz", "get", "200 405 500 503"),
    ],
)
def test_statuses_of_the_contract_are_declared_as_problems(path, method, statuses):
    responses = DECLARED[path][method]["responses"]
    assert set(statuses.split()) <= set(responses)
    for status, response in responses.items():
        if int(status) >= 400:
            assert list(response["content"]) == ["application/problem+json"], status


def test_answers_may_not_be_taken_for_another_type(client):
    for path in ("/livez", "/bundles", "/prototypes", "/nothing", "/docs"):
        assert client.get(path).headers["X-Content-Type-Options"] == "nosniff"


def test_client_cannot_choose_the_request_id(client):
    response = client.get("/livez", headers={"X-Request-ID": "0" * 32})
    assert response.headers["X-Request-ID"] != "0" * 32


@pytest.fixture
def bundles_dir(shipped_bundle, tmp_path):
    """A directory of bundles that may be damaged."""
    shutil.copytree(shipped_bundle, tmp_path / "marrow")
    return tmp_path


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def assert_not_ready(client, sample, *words):
    """It lives, and everything that needs a bundle says why there is none."""
    assert client.get("/livez").status_code == 200
    assert client.get("/bundles").json() == {"bundles": [], "batches": False, "reviews": False, "adapts": False}
    for response in (client.get("/readyz"), post_tile(client, sample), client.get("/prototypes/0")):
        assert_problem(response, 503, *words)
        assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("place", ["", "nowhere"])
def test_service_without_a_bundle_says_so(serve, tmp_path, sample, place):
    assert_not_ready(serve(bundles_dir=tmp_path / place), sample, "marrow", "not found")


@pytest.mark.parametrize("name", ["q.onnx", "weights.safetensors", "golden/cells.png"])
def test_service_with_an_altered_bundle_says_so(serve, bundles_dir, sample, name):
    damage(bundles_dir / "marrow" / name)
    client = serve(bundles_dir=bundles_dir)
    assert_not_ready(client, sample, name, "altered")
    assert_problem(client.get("/bundles/marrow"), 503, "altered")


def test_service_with_an_unreadable_manifest_says_so_but_not_where_it_lies(serve, bundles_dir, sample):
    (bundles_dir / "marrow" / "manifest.json").write_text("{", encoding="utf-8")
    client = serve(bundles_dir=bundles_dir)
    assert_not_ready(client, sample, "manifest.json")
    assert str(bundles_dir) not in client.get("/readyz").text


def test_one_bad_bundle_does_not_stop_the_others(serve, bundles_dir, sample):
    shutil.copytree(bundles_dir / "marrow", bundles_dir / "other")
    damage(bundles_dir / "other" / "q.onnx")
    (bundles_dir / "notes").mkdir()
    client = serve(bundles_dir=bundles_dir)
    assert client.get("/readyz").status_code == 200
    assert [bundle["name"] for bundle in client.get("/bundles").json()["bundles"]] == ["marrow"]
    assert post_tile(client, sample).status_code == 200
    assert_problem(post_tile(client, sample, bundle="other"), 503, "altered")


@pytest.mark.parametrize(("change", "word"), [(Path.unlink, "cannot be read"), (damage, "altered")])
def test_sample_that_changes_while_the_service_runs_is_not_given(serve, bundles_dir, sample, change, word):
    client = serve(bundles_dir=bundles_dir)
    assert client.get("/bundles/marrow/sample").content == sample
    change(bundles_dir / "marrow" / "sample.png")
    assert_problem(client.get("/bundles/marrow/sample"), 503, "sample.png", word)
    assert post_tile(client, sample).status_code == 200


def test_default_bundle_is_that_of_the_settings(serve, bundles_dir):
    path = bundles_dir / "marrow" / "manifest.json"
    second = shutil.copytree(bundles_dir / "marrow", bundles_dir / "second") / "manifest.json"
    second.write_text(
        path.read_text(encoding="utf-8").replace('"name": "marrow"', '"name": "second"'), encoding="utf-8"
    )
    client = serve(bundles_dir=bundles_dir, bundle="second")
    listed = client.get("/bundles").json()["bundles"]
    assert {bundle["name"]: bundle["default"] for bundle in listed} == {"marrow": False, "second": True}
    assert client.get("/prototypes/0?format=json").status_code == 200


def test_every_listed_bundle_can_be_asked_for_by_its_name(serve, bundles_dir):
    """A directory renamed by hand: either it is refused, or its name is the one that answers."""
    (bundles_dir / "marrow").rename(bundles_dir / "renamed")
    client = serve(bundles_dir=bundles_dir, bundle="renamed")
    for bundle in client.get("/bundles").json()["bundles"]:
        assert client.get(f"/bundles/{bundle['name']}").status_code == 200


def test_without_onnx_pytorch_gives_the_same_clusters(client, serve, bundles_dir, sample):
    (bundles_dir / "marrow" / "q.onnx").unlink()
    answer = post_tile(serve(bundles_dir=bundles_dir), sample).json()
    assert (answer["bundle"]["backend"], answer["bundle"]["precision"]) == ("pytorch", "full")
    exact = post_tile(client, sample, precision="full").json()
    assert exact["bundle"]["backend"] == "onnxruntime"
    for ours, reference in zip(answer["cells"], exact["cells"], strict=True):
        assert ours["cluster"] == reference["cluster"]
        assert ours["probabilities"] == pytest.approx(reference["probabilities"], abs=1e-3)
    assert answer["label"]["value"] == exact["label"]["value"]


def test_starting_and_stopping_twice_leaves_nothing_behind(serve, sample):
    for _ in range(2):
        assert serve().get("/readyz").status_code == 200
