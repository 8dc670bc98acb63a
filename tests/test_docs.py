import json
import os
import re
import shutil
import subprocess
import sys
from urllib.parse import unquote

import pytest

from app.answer.present import analysis_out
from app.pipeline.bundle.load import load_bundle
from app.pipeline.run import analyse
from app.service import Result
from tests.conftest import REPOSITORY
from tests.served import served

MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"(?m)^([a-z][a-z-]*):", MAKEFILE))
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
BINARY = {".png", ".jpg", ".tif", ".onnx", ".safetensors"}


def name(path):
    return path.relative_to(REPOSITORY).as_posix()


documents = pytest.mark.parametrize("document", DOCUMENTS, ids=name)


def anchors(text):
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ +(.+?)\s*$", re.sub(r"(?ms)^```.*?^```", "", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def tracked():
    """Path and text of every text file that git knows."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("This is not a git checkout.")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    paths = [REPOSITORY / path for path in listed.split("\0") if path]
    return {path: path.read_text("utf-8") for path in paths if path.suffix not in BINARY and path.is_file()}


@documents
def test_make_targets_that_are_named_exist(document):
    text = document.read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"`[^`]+`|(?m:^ {4}.*$)|(?ms:^```.*?^```)", text))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code)) <= TARGETS


@documents
def test_links_to_files_resolve(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        assert found.is_relative_to(REPOSITORY), target
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found.read_text(encoding="utf-8")), target


@documents
def test_paths_of_the_repository_that_are_named_exist(document):
    folders = {path.name for path in REPOSITORY.iterdir() if path.is_dir() and not path.name.startswith(".")}
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]+)`", document.read_text(encoding="utf-8")):
        if path.split("/")[0] in folders:
            assert (REPOSITORY / path).exists(), path


@documents
def test_commands_that_are_named_exist(document):
    from app.__main__ import cli as product
    from training.__main__ import cli as training

    def commands(cli):
        names = {command.name or command.callback.__name__ for command in cli.registered_commands}
        for group in cli.registered_groups:
            names |= {group.name, *(f"{group.name} {name}" for name in commands(group.typer_instance))}
        return names

    text = document.read_text(encoding="utf-8")
    assert set(re.findall(r"-m training (evaluate [a-z][a-z-]*|[a-z][a-z-]*)\b", text)) <= commands(training)
    assert set(re.findall(r"(?:`|^ {4}|bin/|-m )(?:marrowscope|app) ([a-z]+)\b", text, re.MULTILINE)) <= commands(
        product
    )


@documents
def test_settings_that_are_named_exist(document):
    from app.access.binding import REMOVED
    from app.settings import Settings

    known = {f"MARROWSCOPE_{field}".upper() for field in Settings.model_fields} | {"MARROWSCOPE_DATA"}
    if document.name != "README.md":  # Others may say what there was before.
        known.add(REMOVED)
    assert set(re.findall(r"MARROWSCOPE_[A-Z_]+[A-Z]", document.read_text(encoding="utf-8"))) <= known


def test_readme_leads_a_newcomer_to_the_first_answer():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for command in ("make run", "make test", "curl"):
        assert command in readme
    assert "models/marrow/sample.png" in readme
    assert "For Research Use Only. Not for use in diagnostic procedures." in readme


def test_every_target_is_phony_and_explained():
    phony = set(re.search(r"(?m)^\.PHONY: (.*)$", MAKEFILE)[1].split())
    explained = set(re.findall(r"(?m)^([a-z-]+):.*## \S", MAKEFILE))
    assert TARGETS == phony == explained


def test_nothing_is_tracked_that_is_to_stay_outside(tracked):
    for path in tracked:
        assert path.suffix not in {".pkl", ".pt", ".pth", ".npy", ".npz", ".joblib", ".svs"}, name(path)
        assert name(path).split("/")[0] not in {"data", "runs"}


def test_no_line_is_left_to_be_done(tracked):
    for path, text in tracked.items():
        if path.suffix == ".py" and path.name != "test_docs.py":
            assert not re.search(r"\b(?:TODO|FIXME|XXX)\b", text), name(path)


def assert_shows(shown, actual):
    """What the document shows is in the answer: lists may be cut short, numbers rounded."""
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


def test_readme_shows_what_the_sample_gives(shipped_bundle):
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(.*?)```", readme, flags=re.DOTALL)
    shown = json.loads(block)
    bundle = load_bundle(shipped_bundle)
    analysis = analyse((shipped_bundle / "sample.png").read_bytes(), bundle, max_pixels=10**6)
    actual = analysis_out(Result(analysis, bundle, []), shown["request_id"]).model_dump(mode="json")
    # The machine's speed, the state of the code, and a hash of digits that a processor may compute otherwise.
    shown |= {name: actual[name] for name in ("timing_ms", "code_version", "result_sha256") if name in shown}
    assert_shows(shown, actual)


@pytest.mark.slow
def test_readme_python_example_prints_what_the_readme_says(shipped_bundle, tmp_path):
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    ((code, printed),) = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", readme, flags=re.DOTALL)
    place = tmp_path / "models" / "marrow"
    place.mkdir(parents=True)
    shutil.copy(shipped_bundle / "sample.png", place)
    with served() as (_, address):
        ran = subprocess.run(
            [sys.executable, "-c", code.replace("Client()", f"Client('{address}')")],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    assert ran.stderr == ""
    assert ran.stdout == printed
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")
