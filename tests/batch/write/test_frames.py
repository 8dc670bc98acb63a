"""The results of a slide whose file states a scanned part: they are in the frame that QuPath shows."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from tests.batch.one_slide import prepared, small_tiles
from tests.batch.read.drawn_slides import drawn_pixels, write_leica, write_pyramid

AT = (385, 258)
"""The corner of the scanned part on the canvas; the level that is analysed has half the size, which divides only y."""
AREA = shapely.box(40, 40, 900, 700)
"""A region as it is drawn in QuPath, over the scanned part."""


def results_of(folder, path, bundle, area=AREA, frame="bounds"):
    folder.mkdir()
    feature = {"type": "Feature", "geometry": shapely.geometry.mapping(area), "properties": {"name": "Marrow"}}
    (folder / "r.geojson").write_text(json.dumps(feature))
    with pytest.MonkeyPatch.context() as patch:
        small_tiles(patch)
        one = prepared(folder / "run", path, bundle, regions=folder / "r.geojson", frame=frame).analyse()
        return one.write()


@pytest.fixture(scope="module")
def written(tmp_path_factory, bundle):
    """The results of the same pixels: as a plain pyramid, as the scanned part of a canvas, and as the whole canvas."""
    folder = tmp_path_factory.mktemp("frames")
    pixels = np.tile(drawn_pixels(300, 250), (2, 2, 1)).repeat(2, axis=0).repeat(2, axis=1)
    plain = write_pyramid(folder / "a.tif", pixels, 0.125, levels=2, compression="deflate")
    (folder / "scn").mkdir()
    scanned = write_leica(folder / "scn" / "a.scn", pixels, 0.125, at=AT, canvas=(2400, 1800), levels=2)
    on_canvas = shapely.affinity.translate(AREA, *AT)
    return {
        "plain": results_of(folder / "plain", plain, bundle),
        "bounds": results_of(folder / "bounds", scanned, bundle),
        "canvas": results_of(folder / "canvas", scanned, bundle, on_canvas, "canvas"),
    }


def outlines(results):
    features = json.loads((results / "cells.geojson").read_bytes())["features"]
    return [feature["geometry"] for feature in features]


def summary(results):
    return json.loads((results / "summary.json").read_bytes())


def test_the_scanned_part_has_the_cells_that_the_same_pixels_have_as_a_slide_of_their_own(written):
    assert len(outlines(written["bounds"])) > 60
    assert outlines(written["bounds"]) == outlines(written["plain"])
    plain, bounds = (pq.read_table(written[name] / "cells.parquet") for name in ("plain", "bounds"))
    assert bounds.equals(plain)


def test_on_the_canvas_the_same_cells_lie_at_the_offset(written):
    near, far = (
        np.array(pq.read_table(written[name] / "cells.parquet").select(["x", "y"]).to_pandas())
        for name in ("bounds", "canvas")
    )
    distances = np.abs(near[:, None] + AT - far[None]).max(axis=2).min(axis=1)
    # The stain is measured on the glass of the canvas too, so that a few cells differ.
    assert (distances < 4).mean() > 0.9


def test_the_frame_is_named_wherever_coordinates_are(written):
    expected = {"name": "bounds", "x": 385, "y": 258, "canvas_width": 2400, "canvas_height": 1800}
    assert summary(written["bounds"])["frame"] == expected
    assert json.loads((written["bounds"] / "cells.geojson").read_bytes())["frame"] == expected
    about = json.loads(pq.read_schema(written["bounds"] / "cells.parquet").metadata[b"marrowscope"])
    assert (about["frame"], about["frame_x"], about["frame_y"]) == ("bounds", "385", "258")
    report = (written["bounds"] / "report.html").read_text("utf-8")
    assert "which is at x 385, y 258 of a canvas of 2\u202f400 × 1\u202f800 px" in report
    whole = {"name": "canvas", "x": 0, "y": 0, "canvas_width": 2400, "canvas_height": 1800}
    assert summary(written["canvas"])["frame"] == whole
