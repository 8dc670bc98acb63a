"""The examples of the documentation give what it shows: Python, JSON, TOML, CSV and YAML."""

import json
import os
import re
import shutil
import sys

import pytest
from ruamel.yaml import YAML

from app.answer.present import Result
from app.cohort.patients import read_patients
from app.pipeline.bundle.load import load_bundle
from app.pipeline.run import analyse
from app.settings import Settings
from tests.conftest import REPOSITORY
from tests.docs.pages import PAGES, blocks, name, read
from tests.processes import ran
from tests.served import served
from training.cells.tile_labels import read_labels
from training.config import load_config

COMPOSE = YAML(typ="safe").load(REPOSITORY / "docker-compose.yml")
CHECKED = {
    "": {"README.md", "docs/use.md"},  # what the Python examples print
    "python": {"README.md", "docs/use.md", "docs/decisions/0015-provenance.md"},  # the last one by test_provenance.py
    "json": {"docs/answer.md", "docs/laboratory.md"},
    "toml": {"docs/train.md"},
    "csv": {"docs/train.md", "docs/slides.md"},
    "yaml": {"docs/deploy.md"},
}


def test_every_example_is_checked_below():
    for page in PAGES:
        languages = re.findall(r"(?ms)^```(\S*)\n.*?^```", read(page))
        assert [name(page) in CHECKED.get(language, ()) for language in languages] == [True] * len(languages), page


def assert_shows(shown, actual):
    """Check that the answer holds what the page shows: lists may be cut short, numbers rounded."""
    if isinstance(shown, dict):
        assert shown.keys() == actual.keys()
        for key in shown:
            assert_shows(shown[key], actual[key])
    elif isinstance(shown, list):
        assert len(shown) <= len(actual)
        for left, right in zip(shown, actual, strict=False):
            assert_shows(left, right)
    else:
        assert shown == (pytest.approx(actual, abs=2e-3) if isinstance(actual, float) else actual)


def test_the_answer_is_that_of_the_sample(shipped_bundle):
    (block,) = blocks("docs/answer.md", "json")
    shown = json.loads(block)
    bundle = load_bundle(shipped_bundle)
    analysis = analyse((shipped_bundle / "sample.png").read_bytes(), bundle, max_pixels=10**6)
    actual = json.loads(Result(analysis, bundle, shown["request_id"]).json())
    # The machine's speed, the state of the code, and a hash of digits that a processor may compute otherwise.
    shown |= {name: actual[name] for name in ("timing_ms", "code_version", "result_sha256") if name in shown}
    assert_shows(shown, actual)


@pytest.mark.slow
def test_python_examples_print_what_the_pages_show(shipped_bundle, tmp_path):
    place = tmp_path / "models" / "marrow"
    place.mkdir(parents=True)
    shutil.copy(shipped_bundle / "sample.png", place)
    with served(log_format="json") as (service, address):
        for page in sorted(CHECKED[""]):
            (code,), (printed,) = blocks(page, "python"), blocks(page, "")
            found = ran(
                [sys.executable, "-c", code.replace("Client()", f"Client('{address}')")],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8"},
                encoding="utf-8",
            )
            assert found.stderr == ""
            assert found.stdout == printed
        logged = [line for line in service.stderr.read().splitlines() if "POST /analyze" in line]
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")
    shown, actual = json.loads(*blocks("docs/laboratory.md", "json")), json.loads(logged[0])
    assert shown.keys() - {"key"} == actual.keys()
    assert {key: type(value) for key, value in shown.items() if key != "key"} == {
        key: type(value) for key, value in actual.items()
    }


def test_the_configuration_can_be_trained_with(tmp_path):
    (shown,) = blocks("docs/train.md", "toml")
    (tmp_path / "mine.toml").write_text(shown, encoding="utf-8")
    assert load_config(tmp_path / "mine.toml").data.name == "our_marrow"


def test_the_tables_of_labels_and_patients_can_be_read(tmp_path):
    (labels,), (patients,) = blocks("docs/train.md", "csv"), blocks("docs/slides.md", "csv")
    # A label needs four tiles.
    more = "".join(f"{label}{i}.png,{label},P{i}{label}\n" for label in ("normal", "abnormal") for i in range(3))
    (tmp_path / "labels.csv").write_text(labels + more, encoding="utf-8")
    tiles = [tmp_path / line.split(",")[0] for line in (labels + more).splitlines()[1:]]
    assert read_labels(tmp_path / "labels.csv", tiles).n_patients == 8
    (tmp_path / "patients.csv").write_text(patients, encoding="utf-8")
    assert read_patients(tmp_path / "patients.csv").patients == {"s1.svs": "P1", "study/p2/s2": "P2"}


def test_overrides_of_compose_change_services_that_there_are():
    for block in blocks("docs/deploy.md", "yaml"):
        for service, changes in YAML(typ="safe").load(block)["services"].items():
            known = COMPOSE["services"][service]
            assert set(changes) <= set(known)
            for setting in changes.get("environment", {}):
                assert setting.removeprefix("MARROWSCOPE_").lower() in Settings.model_fields
            for volume in changes.get("volumes", []):
                source = volume.split(":")[0]
                assert source.startswith("/") or source in COMPOSE["volumes"] or (REPOSITORY / source).exists()
