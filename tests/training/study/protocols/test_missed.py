"""Which nuclei are missed, on a drawn tile whose nuclei differ in size and darkness, by systems with a known answer."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from app.pipeline.nuclei.measure import measure
from tests.drawing import disc, mix
from training import __main__ as command_line
from training.errors import DataError
from training.study.protocols.missed import density_round, evaluate_missed
from training.study.systems import segmentation_systems as systems_module

SHAPE = (200, 240)
NUCLEI = [((50, 50), 9, 40), ((150, 50), 9, 90), ((50, 130), 15, 40), ((150, 130), 15, 90)]
"""Centre, radius in px, and density: a small pale nucleus, a small dark one, a large pale one, a large dark one.

Their diameters are 4.5 and 7.5 µm.
"""


def drawn():
    labels, density = np.zeros(SHAPE, np.int32), np.zeros(SHAPE)
    for label, (centre, radius, value) in enumerate(NUCLEI, start=1):
        labels[disc(SHAPE, centre, radius)] = 300 * label
        density[disc(SHAPE, centre, radius)] = value
    random = np.random.default_rng(0)
    return labels, mix(ndimage.gaussian_filter(density, 0.7) + 2, 28 + random.normal(0, 2, SHAPE))


@pytest.fixture
def data(tmp_path):
    """The same tile as one of masks, where the border cuts a nucleus more, and as a test tile with dots."""
    labels, pixels = drawn()
    labels[:6, 100:110] = 7
    for name in ("monuseg/tiles", "monuseg/labels", "bm_graz/tiles"):
        (tmp_path / name).mkdir(parents=True)
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "monuseg" / "labels" / "a.png")
    Image.fromarray(pixels).save(tmp_path / "monuseg" / "tiles" / "a.png")
    Image.fromarray(pixels).save(tmp_path / "bm_graz" / "tiles" / "BM_GRAZ_HE_0007_01.png")
    rows = ["tile,x,y", *(f"BM_GRAZ_HE_0007_01,{x},{y}" for (x, y), _, _ in NUCLEI)]
    (tmp_path / "bm_graz" / "cells_mbm.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def large_ones(pixels):
    return measure(ndimage.label(drawn()[0] > 600)[0].astype(np.int32))


def cores_of_dark_ones(pixels):
    """The dark nuclei are seen, but less than half of each is outlined."""
    cores = [disc(SHAPE, centre, radius // 2) for centre, radius, _ in NUCLEI[1::2]]
    return measure(ndimage.label(np.any(cores, axis=0))[0].astype(np.int32))


SYSTEMS = {"large": large_ones, "cores": cores_of_dark_ones}


def counts(bins, by):
    """Truth, and what each system finds and touches, of the bins that hold nuclei."""
    return [
        (each["truth"], *each["found"].values(), *each["touched"].values())
        for each in bins
        if each["by"] == by and each["truth"]
    ]


def test_nuclei_with_masks_are_counted_by_size_and_darkness(data):
    bins = evaluate_missed(data, SYSTEMS)["monuseg"]
    sizes = [(each["low"], each["high"], each["truth"]) for each in bins if each["by"] == "diameter_um"]
    assert [row for row in sizes if row[2]] == [(4, 5, 2), (7, 8, 2)]
    assert sizes[-1][1] is None
    # Of the two small ones one is dark, and of the two large ones as well; the one at the border does not count.
    assert counts(bins, "diameter_um") == [(2, 0, 0, 0, 1), (2, 2, 0, 2, 1)]
    by_darkness = counts(bins, "darkness")
    assert [sum(column) for column in zip(*by_darkness, strict=True)] == [4, 2, 0, 2, 2]
    # From pale to dark: the cores lie in the darker half.
    assert [row[-1] for row in by_darkness] == [0, 0, 1, 1]


def test_nuclei_with_dots_are_counted_by_darkness(data):
    result = evaluate_missed(data, SYSTEMS)
    assert list(result) == ["monuseg", "bm_graz, test"]
    bins = result["bm_graz, test"]
    assert {each["by"] for each in bins} == {"darkness"}
    by_darkness = counts(bins, "darkness")
    # A core lies where its nucleus does, so a dot is found by it.
    assert [sum(column) for column in zip(*by_darkness, strict=True)] == [4, 2, 2, 2, 2]
    assert [row[2] for row in by_darkness] == [0, 0, 1, 1]


def test_the_density_of_a_dot_is_that_of_a_disc_within_the_tile():
    density = np.zeros((40, 40), np.float32)
    density[disc(density.shape, (20, 20), 3)] = 1
    density[:, 0] = 1
    area, small = disc((40, 40), (20, 20), 6).sum(), disc((40, 40), (20, 20), 3).sum()
    half = disc((40, 40), (0, 20), 6).sum()
    np.testing.assert_allclose(density_round(np.array([[20.0, 20.0], [0.0, 20.0]]), density), [small / area, 13 / half])
    assert density_round(np.zeros((0, 2)), density).shape == (0,)


def test_directory_without_a_set_is_an_error(tmp_path):
    with pytest.raises(DataError, match="monuseg, consep, bm_graz"):
        evaluate_missed(tmp_path, {})


def test_the_command_writes_what_the_report_reads(data, tmp_path, monkeypatch, shipped_bundle):
    monkeypatch.setattr(systems_module, "preset_systems", lambda segmenter: SYSTEMS)
    results, document = tmp_path / "results", tmp_path / "results.md"
    for arguments in (
        ["evaluate", "missed", data, results],
        ["report", results, document, "--bundle", shipped_bundle],
    ):
        monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        assert ended.value.code == 0
    assert json.loads((results / "missed.json").read_text(encoding="utf-8"))
    assert Image.open(tmp_path / "figures" / "missed-nuclei.jpg").size[0] > 1000
    text = document.read_text(encoding="utf-8")
    assert "| 4 to 5 | 2 | 0.00 / 0.00 | 0.00 / 0.50 |" in text
    assert "| 12 or more | 0 | – | – |" in text
    assert "that `large` does not find" in text
