"""What the documentation leads to exists: links, anchors, files, settings, and pages that can be found."""

import re
from urllib.parse import unquote

from app.access.binding import REMOVED
from app.settings import Settings
from tests.conftest import REPOSITORY
from tests.docs.pages import PAGES, anchors, each_page, name, read

LINK = r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)"
DECISIONS = sorted((REPOSITORY / "docs" / "decisions").glob("0*.md"))


@each_page
def test_links_to_files_resolve(page):
    for target in re.findall(LINK, read(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert found.is_relative_to(REPOSITORY), target
        if anchor and found.suffix == ".md":
            assert anchor in anchors(read(found)), target


@each_page
def test_paths_of_the_repository_that_are_named_exist(page):
    folders = {path.name for path in REPOSITORY.iterdir() if path.is_dir() and not path.name.startswith(".")}
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]+)`", read(page)):
        if path.split("/")[0] in folders:
            assert (REPOSITORY / path).exists(), path


@each_page
def test_settings_that_are_named_exist(page):
    known = {f"MARROWSCOPE_{field}".upper() for field in Settings.model_fields} | {"MARROWSCOPE_DATA"}
    if page.name == "viewers.md":  # what the script for QuPath reads is its own
        script = (REPOSITORY / "integrations" / "qupath" / "marrowscope.groovy").read_text(encoding="utf-8")
        known |= set(re.findall(r'"(MARROWSCOPE_[A-Z_]+)"', script))
    if page.name not in {"README.md", "settings.md"}:  # the other pages may mention the setting that was removed
        known.add(REMOVED)
    assert set(re.findall(r"MARROWSCOPE_[A-Z_]+[A-Z]", read(page))) <= known


def test_the_readme_is_a_front_page():
    readme = read("README.md")
    for word in ("make run", "make test", "curl", "models/marrow/sample.png"):
        assert word in readme
    assert "For Research Use Only. Not for use in diagnostic procedures." in readme
    assert len(readme.splitlines()) <= 180


def test_every_page_can_be_found_from_the_readme():
    found, waiting = set(), [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        found.add(page)
        targets = {
            (page.parent / unquote(target.partition("#")[0])).resolve() for target in re.findall(LINK, read(page))
        }
        waiting += [target for target in targets if target.suffix == ".md" and target not in found]
    assert {name(page) for page in PAGES} == {name(page) for page in found}


def test_the_index_of_the_documentation_is_complete():
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", read("docs/README.md")))
    assert listed == {path.name for path in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}


def test_the_index_of_the_decisions_has_their_titles():
    listed = re.findall(r"\[(\d{4})\]\((.*?)\) \| (.*?) \|", read("docs/decisions/README.md"))
    titles = [
        (path.name[:4], path.name, read(path).splitlines()[0].removeprefix(f"# {path.name[:4]}: "))
        for path in DECISIONS
    ]
    assert sorted(listed) == titles


def test_every_decision_has_the_same_form():
    for path in DECISIONS:
        headings = re.findall(r"(?m)^## (.*)$", read(path))
        assert headings == ["Decision", "Why", "What else was considered", "What it costs"], path.name
