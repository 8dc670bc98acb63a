"""What an answer says about where it is from."""

import json
import re
import shutil

import pytest

from app.answer import provenance as module
from app.answer.provenance import code_version
from tests.api.answers import post_tile, strict_json
from tests.conftest import REPOSITORY
from tests.drawing import draw_tile, encoded

DECISION = REPOSITORY / "docs" / "decisions" / "0015-provenance.md"


@pytest.fixture
def recomputed(tmp_path, monkeypatch):
    """The hash that the lines of the decision find, run as they stand there."""
    (code,) = re.findall(r"(?s)```python\n(.*?)```", DECISION.read_text(encoding="utf-8"))

    def of(text):
        (tmp_path / "answer.json").write_text(text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(code, names)
        return names["found"]

    return of


@pytest.fixture(params=["sample", "coarse", "empty", "prototypes", "real"])
def answer_text(request, client, sample):
    if request.param == "real":
        return post_tile(client, request.getfixturevalue("real_upload")).text
    if request.param == "empty":
        return post_tile(client, encoded(draw_tile([]))).text
    options = {"sample": {}, "coarse": {"mpp": 0.4, "precision": "full"}, "prototypes": {"prototypes": 2}}
    return post_tile(client, sample, **options[request.param]).text


def test_a_lab_can_compute_the_hash_of_a_result_by_the_decision(answer_text, recomputed):
    assert recomputed(answer_text) == strict_json(answer_text)["result_sha256"]


def test_any_other_result_has_another_hash(sample_answer, recomputed):
    answer = json.loads(json.dumps(sample_answer))
    answer["cells"][3]["probabilities"][0] += 1e-6
    assert recomputed(json.dumps(answer)) != answer["result_sha256"]


def test_the_parameters_ask_for_the_same_result_again(client, sample):
    first = post_tile(client, sample, mpp=0.3, precision="full", measurements=False).json()
    asked = {"mpp": 0.3, "precision": "full", "measurements": False}
    assert first["parameters"] == {"bundle": "marrow", "prototypes": 0, **asked}
    again = post_tile(client, sample, **first["parameters"]).json()
    assert again["result_sha256"] == first["result_sha256"]
    assert again["request_id"] != first["request_id"]


def test_the_code_version_is_that_of_the_source(sample_answer, tmp_path, monkeypatch):
    assert sample_answer["code_version"] == code_version()
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{12}", code_version())
    copy = tmp_path / "app"
    shutil.copytree(module.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "PACKAGE", copy)

    def of_copy():
        return code_version.__wrapped__()

    assert of_copy() == code_version()
    source = copy / "pipeline" / "run.py"
    source.write_bytes(source.read_bytes().replace(b"\n", b"\r\n"))
    assert of_copy() == code_version(), "a checkout on Windows is the same code"
    source.write_bytes(source.read_bytes() + b"# changed\r\n")
    assert of_copy() != code_version()


def test_the_hash_does_not_know_who_answered(sample_answer, recomputed):
    answer = json.loads(json.dumps(sample_answer))
    answer |= {"request_id": "0" * 32, "code_version": "9", "timing_ms": {}}
    answer["bundle"] |= {"backend": "pytorch", "device": "cuda"}
    assert recomputed(json.dumps(answer)) == sample_answer["result_sha256"]
