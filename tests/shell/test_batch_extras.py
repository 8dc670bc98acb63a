"""What `marrowscope batch` says of --anndata and --dicom-annotations before it begins."""

import sys

import pytest

from tests.batch.read.dicom import write_dicom
from tests.batch.read.drawn_slides import drawn_pixels
from tests.drawing import encoded
from tests.shell.runs import run, words


@pytest.fixture
def slides(tmp_path):
    """A folder with four tiles, which are not DICOM."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.png").write_bytes(encoded(drawn_pixels(64, 64)))
    return folder


def refused(slides, *options):
    """What the command prints before it does anything."""
    out = slides.parent / "out"
    ended = run("batch", slides, "--out", out, *options, status=2, columns=1000)
    assert not out.exists()
    return words(ended.output)


@pytest.mark.parametrize(
    ("option", "package", "extra"),
    [("--anndata", "anndata", "anndata"), ("--dicom-annotations", "highdicom", "dicom")],
)
def test_missing_package_is_named_before_anything_is_done(option, package, extra, slides, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    text = refused(slides, option)
    assert f"{package} is not installed; `make {extra}`" in text


def test_annotations_of_slides_that_are_not_dicom_are_refused(slides):
    pytest.importorskip("highdicom")
    assert "--dicom-annotations is for DICOM slides, and no slide is one" in refused(slides, "--dicom-annotations")


def test_slides_that_get_no_annotations_are_named(slides):
    pytest.importorskip("highdicom")
    write_dicom(slides / "e.dcm", drawn_pixels(64, 64))
    text = refused(slides, "--dicom-annotations", "--bundle", "none-such")
    named = ", ".join(str(slides / f"{name}.png") for name in "abc")
    assert f"Warning: 4 slides are not DICOM and get no annotations.dcm: {named}, …" in text
