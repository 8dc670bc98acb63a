"""The audit log from the shell: verify, rotate, replay."""

import json
import shutil

import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.main import create_app
from app.pipeline.bundle import names
from app.settings import Settings
from tests.api.answers import post_tile
from tests.cell_classifiers import taught_values
from tests.shell.runs import run


@pytest.fixture
def logged(here, shipped_bundle, monkeypatch):
    """Lines of a log in the current folder: an answer about tile.png with prototypes, one as CSV, a refusal."""
    shutil.copytree(shipped_bundle, here / "models" / "marrow")
    monkeypatch.setenv("MARROWSCOPE_BUNDLES_DIR", "models")
    monkeypatch.setenv("MARROWSCOPE_AUDIT_LOG", "audit.jsonl")
    with Image.open(shipped_bundle / "sample.png") as sample:
        sample.save("tile.png", dpi=(101_600, 101_600))  # a file that says 0.25 µm per pixel
    tile = (here / "tile.png").read_bytes()
    with TestClient(create_app(Settings(threads=1)), base_url="http://127.0.0.1") as service:
        post_tile(service, tile, mpp=0.3, precision="full", prototypes=2)
        post_tile(service, tile, format="csv")
        post_tile(service, b"no image")
    return [json.loads(line) for line in (here / "audit.jsonl").read_bytes().splitlines()]


def change(old, new, path="audit.jsonl"):
    with open(path, "r+b") as file:
        text = file.read()
        assert old.encode() in text
        file.seek(0)
        file.truncate()
        file.write(text.replace(old.encode(), new.encode(), 1))


def test_every_logged_answer_can_be_repeated(logged):
    for line in logged[:2]:
        printed = run("replay", line["request_id"], "tile.png").stdout
        assert printed == f"The same result: {line['answer']['result_sha256']}\n"
    assert "scale_conflict" in logged[0]["answer"]["flags"]
    assert logged[1]["answer"]["parameters"]["mpp"] is None
    assert "mpp_unknown" not in logged[1]["answer"]["flags"]


def test_an_answer_about_uploaded_nuclei_is_repeated_with_these_nuclei_only(logged, here):
    nuclei = b'{"type":"FeatureCollection","features":[]}'
    (here / "n.geojson").write_bytes(nuclei)
    (here / "other.geojson").write_bytes(b"[]")
    with TestClient(create_app(Settings(threads=1)), base_url="http://127.0.0.1") as service:
        files = {"tile": (here / "tile.png").read_bytes(), "nuclei": nuclei}
        id = service.post("/analyze", files=files).json()["request_id"]
    assert "The same result" in run("replay", id, "tile.png", "--nuclei", "n.geojson").stdout
    assert "with --nuclei" in run("replay", id, "tile.png", status=2).stderr
    assert "different nuclei" in run("replay", id, "tile.png", "--nuclei", "other.geojson", status=2).stderr
    refused = run("replay", logged[0]["request_id"], "tile.png", "--nuclei", "n.geojson", status=2)
    assert "leave --nuclei out" in refused.stderr


def test_corrected_types_are_repeated_from_the_log_alone(logged, here):
    path = here / "models" / "marrow" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["cell_classifier"] = taught_values(8 * manifest["architecture"]["encoder_width"])
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with TestClient(create_app(Settings(threads=1)), base_url="http://127.0.0.1") as service:
        given = {"corrections": '{"pale large": [5], "dark small": [9, 2]}'}
        files = {"tile": (here / "tile.png").read_bytes()}
        answer = service.post("/analyze?reviewer=A.%20Smith", files=files, data=given).json()
        plain = post_tile(service, files["tile"]).json()
    assert answer["corrections"] == {"n": 3, "by": "A. Smith"}
    assert answer["result_sha256"] != plain["result_sha256"]
    for one in (answer, plain):
        assert run("replay", one["request_id"], "tile.png").stdout == f"The same result: {one['result_sha256']}\n"
    change('"pale large":[5]', '"pale large":[6]')
    assert "DIFFERENT result" in run("replay", answer["request_id"], "tile.png", status=1).stdout
    change('"pale large":[6]', '"pale large":[100000]')
    assert "no cell 100000" in run("replay", answer["request_id"], "tile.png", status=2).stderr


def test_what_differs_from_then_is_told(logged, here):
    id, answer = logged[0]["request_id"], logged[0]["answer"]
    change(answer["environment"]["processor"], "Abacus 3")
    change(answer["code_version"], "0.0.9+000000000000")
    change('"backend":"onnxruntime"', '"backend":"pytorch"')
    result = run("replay", id, "tile.png")
    for text in ("processor: Abacus 3 then", "code version: 0.0.9+000000000000 then", "backend: pytorch then"):
        assert text in result.stdout
    assert "The same result" in result.stdout
    assert "not intact" in result.stderr
    change(answer["result_sha256"], "0" * 64)
    assert "DIFFERENT result" in run("replay", id, "tile.png", status=1).stdout


def test_what_cannot_be_repeated_says_why(logged, here):
    id = logged[0]["request_id"]

    def refusal(*arguments):
        return run("replay", *arguments, status=2).stderr

    (here / "other.png").write_bytes(b"other")
    assert "other.png is a different tile" in refusal(id, "other.png")
    assert "No such file" in refusal(id, "none.png")
    assert "No request 0123 is in audit.jsonl" in refusal("0123", "tile.png")
    assert "refused with status 415" in refusal(logged[2]["request_id"], "tile.png")
    assert "No such file" in refusal(id, "tile.png", "--log", "none.jsonl")
    names.name_cluster(here / "models" / "marrow", 1, "small", by="A. Smith", cells=None)
    assert "is a different one: version " in refusal(id, "tile.png")
    shutil.rmtree("models")
    assert "manifest.json cannot be read" in refusal(id, "tile.png")


def test_a_log_is_asked_for(here, monkeypatch):
    monkeypatch.delenv("MARROWSCOPE_AUDIT_LOG", raising=False)
    assert "--log" in run("replay", "0123", "tile.png", status=2).stderr
    assert "MARROWSCOPE_AUDIT_LOG" in run("audit", "rotate", status=1).stderr
    assert "No such file" in run("audit", "verify", "audit.jsonl", status=1).stderr


def test_verify_says_what_is_wrong_with_which_line(logged, here):
    assert run("audit", "verify", "audit.jsonl").stdout.startswith("3 lines, intact; the hash of the last line is ")
    change('"status":200', '"status":204')
    result = run("audit", "verify", "audit.jsonl", status=1)
    assert result.stderr.startswith("audit.jsonl, line 2: it or the line before it was changed")
    assert "3 lines, NOT intact" in result.stdout


def test_a_log_goes_on_in_a_new_file(logged, here):
    old = run("audit", "rotate").stdout.strip()
    assert sorted(path.name for path in here.glob("audit*")) == ["audit.jsonl", old]
    assert run("audit", "verify", old, "audit.jsonl").stdout.startswith("4 lines, intact")
    assert run("audit", "verify", "audit.jsonl", old, status=1)
    assert "The same result" in run("replay", logged[0]["request_id"], "tile.png", "--log", old).stdout
