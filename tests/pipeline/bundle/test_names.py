"""`marrowscope bundle name` and `unname`, on a copy of the shipped bundle."""

import json
import shutil
from datetime import datetime

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.pipeline.bundle.load import load_bundle, read_manifest
from app.pipeline.run import analyse
from tests.descriptions import describe_by_hand


@pytest.fixture
def bundles(shipped_bundle, tmp_path, monkeypatch):
    shutil.copytree(shipped_bundle, tmp_path / "marrow")
    monkeypatch.setenv("MARROWSCOPE_BUNDLES_DIR", str(tmp_path))
    return tmp_path


def marrowscope(*arguments):
    return CliRunner().invoke(cli, ["bundle", *map(str, arguments)])


def names_of(bundles):
    return json.loads((bundles / "marrow" / "manifest.json").read_text(encoding="utf-8"))["cluster_names"]


def test_shipped_clusters_have_no_names(shipped_bundle):
    """They were learned without labels: a cell type by default would be a claim that nobody has checked."""
    assert read_manifest(shipped_bundle)[0].cluster_names is None


def test_name_is_kept_with_who_when_and_on_how_many_cells(bundles):
    before, sha256 = read_manifest(bundles / "marrow")
    result = marrowscope("name", 1, " small, round ", "--by", "A. Smith", "--cells", 200)
    assert result.exit_code == 0, result.output
    assert "version 1" in result.output
    names = names_of(bundles)
    (entry,) = names["clusters"]
    assert datetime.fromisoformat(entry.pop("when")).tzinfo is not None
    assert names["version"] == 1
    assert entry == {"cluster": 1, "name": "small, round", "by": "A. Smith", "cells": 200}
    after, changed = read_manifest(bundles / "marrow")
    assert changed != sha256
    assert after.model_copy(update={"cluster_names": None}) == before
    assert list(bundles.rglob(".*")) == []


def test_named_bundle_is_served(bundles):
    marrowscope("name", 4, "very large", "--by", "A. Smith", "--cells", 60)
    bundle = load_bundle(bundles / "marrow", threads=1)
    assert [bundle.manifest.cluster_names.of(k) for k in range(5)] == [None] * 4 + ["very large"]
    analyse((bundles / "marrow" / "sample.png").read_bytes(), bundle, max_pixels=10**6)


def test_what_is_said_of_the_clusters_stays_when_they_are_named(bundles):
    path, descriptions = bundles / "marrow" / "manifest.json", describe_by_hand()
    manifest, _ = read_manifest(bundles / "marrow")
    path.write_text(manifest.model_copy(update={"descriptions": descriptions}).model_dump_json(), encoding="utf-8")
    marrowscope("name", 0, "round", "--by", "A")
    marrowscope("unname", 0)
    assert read_manifest(bundles / "marrow")[0].descriptions == descriptions


def test_every_change_is_another_version_and_leaves_the_other_names(bundles):
    marrowscope("name", 3, "long", "--by", "A", "--cells", 5)
    marrowscope("name", 0, "round", "--by", "A", "--cells", 5)
    marrowscope("name", 3, "longer", "--by", "B", "--cells", 9)
    names = names_of(bundles)
    assert names["version"] == 3
    assert [(entry["cluster"], entry["name"], entry["by"]) for entry in names["clusters"]] == [
        (0, "round", "A"),
        (3, "longer", "B"),
    ]
    assert marrowscope("unname", 3).exit_code == 0
    assert [entry["cluster"] for entry in names_of(bundles)["clusters"]] == [0]
    assert names_of(bundles)["version"] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["name", 5, "x", "--by", "A", "--cells", 5], "0 to 4"),
        (["name", 0, "  ", "--by", "A", "--cells", 5], "name"),
        (["name", 0, "x" * 81, "--by", "A", "--cells", 5], "name"),
        (["name", 0, "x", "--by", "", "--cells", 5], "by"),
        (["name", 0, "x", "--by", "A", "--cells", 5, "--bundle", "other"], "other/manifest.json"),
        (["unname", 0], "no name"),
    ],
)
def test_what_makes_no_sense_is_said_and_changes_nothing(bundles, arguments, said):
    before = (bundles / "marrow" / "manifest.json").read_bytes()
    result = marrowscope(*arguments)
    assert result.exit_code == 1
    assert said in result.output
    assert (bundles / "marrow" / "manifest.json").read_bytes() == before


def test_who_must_be_said_and_on_how_many_cells_may_be(bundles):
    assert marrowscope("name", 0, "x", "--cells", 5).exit_code == 2
    assert names_of(bundles) is None
    assert marrowscope("name", 0, "x", "--by", "A").exit_code == 0
    assert names_of(bundles)["clusters"][0]["cells"] is None


@pytest.mark.parametrize(
    "name", ["=1+1", "@SUM(A1)", "-5", "two\nlines", "a\ttab", "Outlier", "Cluster 3"], ids=lambda name: repr(name)
)
def test_name_that_a_table_or_qupath_would_take_for_something_else_is_refused(bundles, name):
    before = (bundles / "marrow" / "manifest.json").read_bytes()
    result = marrowscope("name", "--by", "A", "--", 1, name)
    assert result.exit_code == 1
    assert "must" in result.output
    assert (bundles / "marrow" / "manifest.json").read_bytes() == before


def test_two_clusters_cannot_have_one_name(bundles):
    marrowscope("name", 1, "round", "--by", "A")
    result = marrowscope("name", 2, "Round", "--by", "A")
    assert result.exit_code == 1
    assert "each name once" in result.output
    assert [entry["cluster"] for entry in names_of(bundles)["clusters"]] == [1]
    assert marrowscope("name", 1, "round", "--by", "B").exit_code == 0
