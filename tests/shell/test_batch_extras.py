"""What `marrowscope batch` says where the package of an option is missing."""

import sys

import pytest
from typer.testing import CliRunner

from app.__main__ import cli


@pytest.mark.parametrize(
    ("option", "package", "extra"),
    [("--anndata", "anndata", "anndata"), ("--dicom-annotations", "highdicom", "dicom")],
)
def test_missing_package_is_named_before_anything_is_done(option, package, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    ended = CliRunner().invoke(cli, ["batch", str(tmp_path), "--out", str(tmp_path / "out"), option])
    assert ended.exit_code == 2
    assert f"make {extra}" in ended.output
    assert package in ended.output
    assert not (tmp_path / "out").exists()
