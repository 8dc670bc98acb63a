"""The task of the Digital Slide Archive, called as the archive calls it: by the entry point of the image."""

import json
import logging
import os
import re
import sys

import numpy as np
import pytest
from PIL import Image
from shapely import Polygon, box

from app.pipeline.bundle.load import load_bundle
from app.pipeline.errors import PipelineError
from app.shell.dsa import annotate
from tests.answer.annotation_schema import check_annotation
from tests.batch.read.drawn_slides import drawn_pixels, write_leica, write_pyramid
from tests.conftest import REPOSITORY
from tests.processes import ran

FOLDER = REPOSITORY / "integrations" / "dsa"
XML = FOLDER / "Marrowscope" / "Marrowscope.xml"
WHOLE = "-1, -1, -1, -1"  # as slicer_cli_web writes a vector
OURS = [sys.executable, FOLDER / "entrypoint.py"]
THEIRS = [sys.executable, "-m", "slicer_cli_web.cli_list_entrypoint"]
"""What the images of HistomicsTK are entered by, in the folder of the tasks."""


@pytest.fixture(scope="module", params=[OURS, THEIRS], ids=["our entry point", "slicer_cli_web's"])
def entrance(request):
    if request.param is THEIRS:
        pytest.importorskip("slicer_cli_web", reason="it comes with HistomicsTK, which is for Linux on x86-64 alone")
    return request.param


@pytest.fixture(scope="module")
def description():
    """The task as HistomicsTK's own parser reads it; what is wrong with it is only logged there."""
    adjusted = pytest.importorskip("slicer_cli_web.ctk_cli_adjustment")
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("ctk_cli.module")
    logger.addHandler(handler)
    try:
        module = adjusted.CLIModule(str(XML))
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in records] == []
    return module


@pytest.fixture(scope="module")
def bundle(shipped_bundle):
    return load_bundle(shipped_bundle, threads=1)


def called(entrance, *arguments, status=0, **settings):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MARROWSCOPE_THREADS": "1", **settings}
    done = ran([*entrance, *arguments], cwd=FOLDER, env=environment)
    assert done.returncode == status, done.stderr
    return done


def read(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    check_annotation(content)
    return content


def polygons_of(content):
    return [Polygon([point[:2] for point in element["points"]]) for element in content["elements"]]


def test_tasks_are_listed_and_described(entrance):
    assert json.loads(called(entrance, "--list_cli").stdout) == {"Marrowscope": {"type": "python"}}
    assert called(entrance, "Marrowscope", "--xml").stdout == XML.read_text(encoding="utf-8")
    assert "Marrowscope" in called(entrance, "Another", status=2).stderr
    assert "--list_cli" in called(OURS, status=2).stderr


def test_description_has_what_the_archive_asks_for(description):
    arguments, options, outputs = description.classifyParameters()
    assert [(one.name, one.typ, one.channel) for one in arguments] == [
        ("inputImageFile", "image", "input"),
        ("outputAnnotationFile", "file", "output"),
    ]
    assert outputs == []
    # HistomicsUI adds an uploaded file to the image if the parameter's name ends so (histomicsui/handlers.py), and the
    # archive knows the image by the reference.
    assert arguments[1].name.endswith("AnnotationFile")
    assert arguments[1].reference == arguments[0].name
    assert {one.name: (one.typ, one.default) for one in options} == {
        "analysis_roi": ("region", [-1, -1, -1, -1]),
        "bundle": ("string", ""),
        "mpp": ("double", 0),
    }
    assert "For Research Use Only. Not for use in diagnostic procedures." in description.description


def test_description_and_program_have_the_same_options(description):
    shown = called(OURS, "Marrowscope", "--help", COLUMNS="120", NO_COLOR="1").stdout
    found = set(re.findall(r"--[a-z_]+", shown)) - {"--help", "--xml"}
    assert found == {one.longflag for one in description.classifyParameters()[1]}


@pytest.mark.slow
def test_a_region_of_a_real_tile_is_annotated_where_it_lies(entrance, bm_graz, tmp_path):
    tile, output = bm_graz / "tiles" / "BM_GRAZ_HE_0001_01.png", tmp_path / "cells.anot"
    given = ["--analysis_roi", "300.2, 400.0, 500.0, 350.0", "--bundle", "", "--mpp", "0.25"]
    done = called(entrance, "Marrowscope", *given, tile, output)
    assert done.stdout.startswith("For Research Use Only. Not for use in diagnostic procedures.\n")
    content = read(output)
    assert f"{len(content['elements'])} cells" in done.stdout
    assert len(content["elements"]) > 50
    region = box(300, 400, 800, 750)
    assert all(region.covers(polygon) for polygon in polygons_of(content))
    assert content["attributes"]["region"] == {"left": 300, "top": 400, "width": 500, "height": 350}
    assert content["attributes"]["tile"]["mpp"] == 0.25
    # The outlines lie on nuclei: what they hold is darker than the rest of the region.
    with Image.open(tile) as image:
        red = np.asarray(image.convert("RGB"))[..., 0]
    inside = [red[int(polygon.centroid.y), int(polygon.centroid.x)] for polygon in polygons_of(content)]
    assert np.mean(inside) < red[400:750, 300:800].mean() - 20


@pytest.mark.slow
def test_a_whole_tile_gives_the_outlines_of_the_command(bm_graz, tmp_path):
    tile, output = bm_graz / "tiles" / "BM_GRAZ_HE_0001_01.png", tmp_path / "cells.anot"
    done = called(OURS, "Marrowscope", "--analysis_roi", "-1,-1,-1,-1", tile, output)
    assert "Warning: Neither the request nor the file says how many µm a pixel has" in done.stdout
    command = [sys.executable, "-m", "app", "analyze", tile, "-f", "dsa"]
    printed = ran(command, cwd=REPOSITORY).stdout
    assert read(output)["elements"] == json.loads(printed)["elements"]


def test_a_slide_is_read_at_full_resolution_on_its_whole_canvas(bundle, tmp_path):
    """large_image shows the canvas, also where the scanner scanned a part of it alone."""
    pixels = drawn_pixels()
    slide = write_leica(tmp_path / "slide.scn", pixels, mpp=0.25, at=(96, 64))
    result = annotate(slide, "146, 114, 400, 300", tmp_path / "cells.anot", bundle, max_pixels=9_000_000)
    np.testing.assert_array_equal(result.analysis.tile.pixels, pixels[50:350, 50:450])
    assert (result.tile.mpp, result.tile.mpp_source) == (0.25, "slide_metadata")
    content = read(tmp_path / "cells.anot")
    polygons = polygons_of(content)
    assert len(polygons) > 20
    assert all(box(146, 114, 546, 414).covers(polygon) for polygon in polygons)


def test_a_region_beyond_the_border_is_cut_off(bundle, tmp_path):
    slide = write_pyramid(tmp_path / "slide.tif", drawn_pixels(600, 500))
    annotate(slide, "-50,-20,300,200", tmp_path / "cells.anot", bundle, max_pixels=9_000_000)
    region = read(tmp_path / "cells.anot")["attributes"]["region"]
    assert region == {"left": 0, "top": 0, "width": 250, "height": 180}


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ("1,2,3", "left, top, width, height"),
        ("a,b,c,d", "left, top, width, height"),
        ("nan,0,5,5", "left, top, width, height"),
        ("0,0,inf,5", "left, top, width, height"),
        ("600,0,5,5", "no pixel of the image, which has 600 x 500"),
        ("0,0,0,5", "no pixel"),
        (WHOLE, "600 x 500 pixels, and at most 200000 are analysed at once"),
    ],
)
def test_what_cannot_be_analysed_is_refused(bundle, tmp_path, region, said):
    slide = write_pyramid(tmp_path / "slide.tif", drawn_pixels(600, 500))
    with pytest.raises(PipelineError, match=re.escape(said)) as refused:
        annotate(slide, region, tmp_path / "cells.anot", bundle, max_pixels=200_000)
    assert ("marrowscope batch" in str(refused.value)) == (region == WHOLE)
    assert not (tmp_path / "cells.anot").exists()


@pytest.mark.slow
def test_a_slide_without_a_scale_asks_for_it_in_one_line(bundle, tmp_path):
    slide = write_pyramid(tmp_path / "slide.tif", drawn_pixels(600, 500), mpp=None)
    output, region = tmp_path / "cells.anot", "0, 0, 300, 300"
    done = called(OURS, "Marrowscope", "--analysis_roi", region, slide, output, status=1)
    assert re.fullmatch(r"Error: .*how many µm a pixel has.*\n", done.stderr)
    annotate(slide, region, output, bundle, mpp=0.25, max_pixels=9_000_000)
    assert read(output)["attributes"]["tile"]["mpp"] == 0.25


def test_the_image_holds_what_its_entry_point_reads():
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    copied = " ".join(re.findall(r"(?m)^COPY (.+) \S+$", text)).split()
    assert {path.name for path in FOLDER.iterdir()} - {"Dockerfile", "__pycache__"} == set(copied)
    (entrypoint,) = re.findall(r"(?m)^ENTRYPOINT (.*)$", text)
    assert json.loads(entrypoint) == ["python3", "/srv/dsa/entrypoint.py"]
