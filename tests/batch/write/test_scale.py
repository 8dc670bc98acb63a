"""What the results of a slide say about its scale, its orientation and its colours."""

import json

import numpy as np
from PIL import ImageCms

from tests.batch.one_slide import prepared
from tests.batch.read.drawn_slides import drawn_pixels, write_aperio, write_pyramid

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


def results_of(folder, path, bundle, **options):
    """Return the summary, the codes of its flags, and the report."""
    written = prepared(folder / "run", path, bundle, **options).analyse().write()
    summary = json.loads((written / "summary.json").read_bytes())
    return summary, {flag["code"] for flag in summary["quality"]["flags"]}, (written / "report.html").read_text("utf-8")


def test_an_objective_a_profile_and_an_orientation_are_said(tmp_path, bundle):
    pixels = np.tile(drawn_pixels(300, 250), (2, 2, 1))
    tags = {"iccprofile": PROFILE, "extratags": [(274, "H", 1, 8, True)]}
    path = write_aperio(tmp_path / "a.svs", pixels, None, power=20, compression="jpeg", **tags)
    summary, flags, report = results_of(tmp_path, path, bundle)
    assert (summary["mpp"], summary["mpp_source"], summary["um_per_px"]) == (0.5, "objective", 0.5)
    assert flags >= {"mpp_from_objective", "icc_profile_ignored", "orientation_ignored"}
    assert "from the objective that the file names" in report
    assert "Icc profile ignored" in report


def test_a_scale_that_contradicts_the_file_is_used_and_flagged(tmp_path, bundle):
    pixels = np.tile(drawn_pixels(300, 250), (2, 2, 1))
    path = write_pyramid(tmp_path / "a.tif", pixels, 0.5)
    summary, flags, report = results_of(tmp_path, path, bundle, mpp=0.25)
    assert (summary["mpp"], summary["mpp_source"]) == (0.25, "request")
    assert "scale_conflict" in flags
    assert "as the command gives it" in report
    assert "Scale conflict" in report
    cells = [json.loads(line.rstrip(",\n"))["properties"] for line in _features(tmp_path)]
    assert cells
    areas = [(cell["measurements"]["Nucleus area px"], cell["measurements"]["Nucleus area µm^2"]) for cell in cells]
    assert all(abs(um2 / px2 - 0.25**2) < 1e-3 for px2, um2 in areas)


def _features(tmp_path):
    with (tmp_path / "run" / "slides" / "a" / "cells.geojson").open(encoding="utf-8") as file:
        return [line for line in file if line.startswith('{"type":"Feature",')]
