"""What a user learns about the patients and regions of slides from the command."""

import csv
import json
import shutil

import pytest

from tests.batch.run.command import run
from tests.conftest import REPOSITORY

SAMPLE = REPOSITORY / "models" / "marrow" / "sample.png"

pytestmark = pytest.mark.slow


@pytest.fixture
def study(tmp_path):
    """Two slides of one name in two folders."""
    for patient in ("p1", "p2"):
        (tmp_path / "slides" / patient).mkdir(parents=True)
        shutil.copy(SAMPLE, tmp_path / "slides" / patient / "slide1.png")
    return tmp_path


def square(x, name):
    ring = [[x, 0], [x + 100, 0], [x + 100, 100], [x, 100], [x, 0]]
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": name}}


def test_name_of_two_slides_is_a_usage_error_and_nothing_is_begun(study):
    (study / "patients.csv").write_text("slide,patient\nslide1,Smith\n")
    (study / "regions").mkdir()
    (study / "regions" / "slide1.geojson").write_text("[]")
    for option in (("--patients", study / "patients.csv"), ("--regions", study / "regions")):
        _, stderr = run(study / "slides", "--out", study / "out", *option, expected=2)
        assert "p1/slide1.png, p2/slide1.png" in " ".join(stderr.split())
    assert not (study / "out").exists()


def test_paths_settle_whose_a_slide_is_and_what_is_left_out_is_said(study):
    (study / "patients.csv").write_text("slide;patient\np1\\slide1;Smith\np2/slide1.png;Jones\np3/slide1;Miller\n")
    for folder, x in (("p1", 0), ("p2", 120)):
        (study / "regions" / folder).mkdir(parents=True)
        point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {"name": "dot"}}
        (study / "regions" / folder / "slide1.geojson").write_text(json.dumps([square(x, f"of {folder}"), point]))
    options = ("--patients", study / "patients.csv", "--regions", study / "regions", "--workers", 1)
    _, stderr = run(study / "slides", "--out", study / "out", *options)
    assert "Warning: patients.csv names slides that this batch does not have: 'p3/slide1'." in stderr
    assert f"{study / 'slides' / 'p1' / 'slide1.png'}: Skipped 'dot': points have no area." in stderr
    with (study / "out" / "slides.csv").open() as file:
        assert {row["slide"]: row["patient"] for row in csv.DictReader(file)} == {
            "p1--slide1": "Smith",
            "p2--slide1": "Jones",
        }
    with (study / "out" / "regions.csv").open() as file:
        assert [(row["slide"], row["region"]) for row in csv.DictReader(file)] == [
            ("p1--slide1", "of p1"),
            ("p2--slide1", "of p2"),
        ]


def test_nuclei_of_each_slide_are_found_by_its_path_and_a_slide_without_fails(study):
    (study / "nuclei" / "p1").mkdir(parents=True)
    (study / "nuclei" / "p1" / "slide1.geojson").write_text(json.dumps([square(10, ""), square(150, "")]))
    options = ("--nuclei", study / "nuclei", "--workers", 1)
    _, stderr = run(study / "slides", "--out", study / "out", *options, expected=1)
    assert f"{study / 'slides' / 'p2' / 'slide1.png'}: The folder of nuclei has no slide1.geojson for it." in stderr
    with (study / "out" / "slides.csv").open() as file:
        done, failed = csv.DictReader(file)
    assert (done["status"], done["cells"], done["segmentation_source"]) == ("ok", "2", "upload")
    assert (failed["status"], failed["segmentation_source"]) == ("failed", "")
    _, stderr = run(study / "slides", "--out", study / "out", "--workers", 1, expected=1)
    assert "differs in nuclei" in stderr
