"""Nuclei that come with a tile, in place of those that the bundle would find."""

import io
import json

import cv2
import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shapely.affinity import translate
from shapely.geometry import mapping

from app.answer.formats import FORMATS
from app.answer.present import Result
from app.pipeline.bundle.load import Bundle
from app.pipeline.errors import InvalidNuclei, PipelineError, TooManyNuclei
from app.pipeline.manifest import Manifest
from app.pipeline.run import analyse
from app.pipeline.uploaded_nuclei import read as uploaded_nuclei
from app.pipeline.uploaded_nuclei.read import LARGE, MAX_NUCLEI
from tests.conftest import MANIFEST_VALUES
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.fakes import FakeBackend

LIMIT = 9_000_000
WIDTH, HEIGHT = 240, 200
PIXELS = draw_tile(grid_of_centres())
TILE = encoded(PIXELS)


@pytest.fixture(scope="module")
def fake_bundle_once(tmp_path_factory):
    manifest = Manifest.model_validate(MANIFEST_VALUES)
    backend = FakeBackend(manifest.n_clusters, manifest.latent_size)
    return Bundle(manifest, "0" * 64, tmp_path_factory.mktemp("bundle"), backend)


def analysed(bundle, nuclei, tile=TILE, **options):
    return analyse(tile, bundle, max_pixels=LIMIT, nuclei=nuclei, **options)


def square(x, y, side=20):
    """A closed ring along the edges of side² pixels."""
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def feature(*rings, kind="Polygon", **members):
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": [*rings]}, "properties": {}, **members}


def document(*features) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def as_file(numbers, form="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(numbers).save(buffer, form, **options)
    return buffer.getvalue()


def tiff(numbers, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, numbers, **options)
    return buffer.getvalue()


def boxes(analysis):
    return analysis.cells.bboxes.tolist()


def dropped(analysis):
    """The flag of what is no nucleus as it came; None if there is none."""
    return next((flag for flag in analysis.quality.flags if flag.code == "upload_nuclei_dropped"), None)


@pytest.mark.parametrize("form", ["geojson", "labels"])
def test_our_own_nuclei_give_the_very_same_cells(fake_bundle, form):
    own = analyse(TILE, fake_bundle, max_pixels=LIMIT)
    assert len(own.cells) == len(grid_of_centres())
    again = analysed(fake_bundle, FORMATS[form].write(Result(own, fake_bundle, "0" * 32)))
    np.testing.assert_array_equal(again.cells.nuclei.label_image, own.cells.nuclei.label_image)
    np.testing.assert_array_equal(again.cells.cluster_probs, own.cells.cluster_probs)
    assert again.label.evidence.score == own.label.evidence.score
    assert (own.segmentation.source, own.segmentation.method) == ("bundle", "paper")
    expected = {"geojson": "geojson", "labels": "label_image"}[form]
    assert (again.segmentation.source, again.segmentation.method) == ("upload", expected)
    assert again.segmentation.version is None
    codes = [flag.code for flag in again.quality.flags]
    assert codes == ["mpp_unknown", "few_cells", "nuclei_uploaded"]
    assert again.label.value == own.label.value


@pytest.mark.parametrize("factor", [0.4, 0.5, 1.3, 2])
def test_our_own_geojson_gives_the_same_cells_at_any_scale(fake_bundle, factor):
    mpp = fake_bundle.manifest.mpp * factor
    size = (round(WIDTH / factor), round(HEIGHT / factor))
    tile = encoded(Image.fromarray(PIXELS).resize(size))
    own = analyse(tile, fake_bundle, max_pixels=LIMIT, mpp=mpp)
    again = analysed(fake_bundle, FORMATS["geojson"].write(Result(own, fake_bundle, "0" * 32)), tile, mpp=mpp)
    assert len(own.cells) > 10
    np.testing.assert_array_equal(again.cells.nuclei.label_image, own.cells.nuclei.label_image)


def test_a_nucleus_has_the_pixels_whose_centres_lie_in_its_outline(fake_bundle):
    analysis = analysed(fake_bundle, document(feature(square(50, 60)), feature(square(100.5, 20.4))))
    # Cells come in reading order. A centre at 100.5 lies in, one at 120.5 does not.
    assert boxes(analysis) == [[100, 20, 120, 40], [50, 60, 70, 80]]
    assert analysis.cells.areas_px.tolist() == [400, 400]


def test_coordinates_are_pixels_of_the_upload_at_any_scale(fake_bundle):
    tile = encoded(PIXELS.repeat(2, axis=0).repeat(2, axis=1))
    mpp = fake_bundle.manifest.mpp / 2
    numbers = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    numbers[120:160, 100:140] = 7
    for nuclei in (document(feature(square(100, 120, 40))), as_file(numbers)):
        analysis = analysed(fake_bundle, nuclei, tile, mpp=mpp)
        assert boxes(analysis) == [[100, 120, 140, 160]]
        assert analysis.cells.nuclei.areas_px.tolist() == [400]


def test_slanted_outlines_of_a_label_image_get_no_steps_at_a_finer_scale(fake_bundle):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    is_diamond = abs(x - 100) + abs(y - 90) <= 20
    mpp = fake_bundle.manifest.mpp * 2
    numbers = np.where(is_diamond, 300, 0).astype(np.uint16)
    numbers[150:170, 150:170], numbers[156:160, 156:160] = 7, 0
    analysis = analysed(fake_bundle, as_file(numbers), mpp=mpp)
    diamond, ring = (analysis.cells.nuclei.label_image == i for i in (1, 2))
    widths = diamond.sum(axis=1)[diamond.any(axis=1)]
    assert abs(np.diff(widths)).max() <= 2, "a pixel at each side of a row, and not two every other row"
    assert diamond.sum() == pytest.approx(4 * is_diamond.sum(), rel=0.02)
    assert ring.sum() == pytest.approx(4 * (20**2 - 4**2), rel=0.02), "its hole is a hole"
    assert dropped(analysis) is None


def test_a_hole_is_no_part_of_a_nucleus(fake_bundle):
    analysis = analysed(fake_bundle, document(feature(square(50, 60, 30), square(60, 70, 10))))
    assert analysis.cells.areas_px.tolist() == [800]


@pytest.mark.parametrize(
    "content",
    [
        [feature(square(20, 30)), feature(square(90, 30))],
        {"type": "FeatureCollection", "features": [feature([square(20, 30)], [square(90, 30)], kind="MultiPolygon")]},
        feature([square(20, 30)], [square(90, 30)], kind="MultiPolygon"),
        # As QuPath writes cells, whose nucleus is within them.
        [
            feature(square(10, 20, 40), nucleusGeometry=feature(square(x, 30))["geometry"], id="PathCellObject")
            for x in (20, 90)
        ],
        # CellViT has an annotation for each type of cell.
        [
            {
                **feature(*[[square(x, 30)] for x in xs], kind="MultiPolygon", id="8f3c"),
                "properties": {"objectType": "annotation", "classification": {"name": "x", "color": [1, 2, 3]}},
            }
            for xs in ([20], [90])
        ],
        # The region in which they were sought comes with them.
        [
            {**feature(square(0, 0, 150)), "properties": {"objectType": "annotation"}},
            *({**feature(square(x, 30)), "properties": {"objectType": "detection"}} for x in (20, 90)),
        ],
        [feature(square(20, 30)[:-1]), feature([[*point, 0.0] for point in square(90, 30)])],
        [
            {
                **feature(square(20, 30)),
                "properties": {"objectType": "annotation", "childObjects": [feature(square(90, 30))]},
            }
        ],
    ],
    ids=["list", "MultiPolygon", "one feature", "cells", "CellViT", "with its region", "not closed, with z", "nested"],
)
def test_every_form_that_programs_write_is_read(fake_bundle, content):
    analysis = analysed(fake_bundle, json.dumps(content).encode())
    assert boxes(analysis) == [[20, 30, 40, 50], [90, 30, 110, 50]]


@pytest.mark.parametrize(
    ("form", "dtype"),
    [("PNG", np.uint8), ("PNG", np.uint16), ("TIFF", np.uint8), ("TIFF", np.uint16), ("TIFF", np.int32)],
)
def test_label_images_of_every_depth_are_read(fake_bundle, dtype, form):
    numbers = np.zeros((HEIGHT, WIDTH), dtype)
    numbers[60:80, 50:70], numbers[20:40, 100:120] = 3, np.iinfo(dtype).max
    analysis = analysed(fake_bundle, as_file(numbers, form))
    assert boxes(analysis) == [[100, 20, 120, 40], [50, 60, 70, 80]]
    assert dropped(analysis) is None


def test_numbers_of_a_tiff_in_which_0_is_white_are_those_that_were_stored(fake_bundle):
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[60:80, 50:70], numbers[20:40, 100:120] = 1, 255
    for dtype in (np.uint8, np.uint16):
        analysis = analysed(fake_bundle, tiff(numbers.astype(dtype), photometric="miniswhite"))
        assert boxes(analysis) == [[100, 20, 120, 40], [50, 60, 70, 80]]
        assert dropped(analysis) is None


def test_outline_of_a_cell_is_not_taken_for_its_nucleus(fake_bundle):
    cell = {**feature(square(90, 30, 40)), "properties": {"objectType": "cell"}}
    whole = {**cell, "nucleusGeometry": feature(square(100, 40))["geometry"]}
    analysis = analysed(fake_bundle, document(whole, cell))
    assert boxes(analysis) == [[100, 40, 120, 60]]
    assert "1 cells without a nucleus" in dropped(analysis).message
    with pytest.raises(InvalidNuclei, match=r"no polygon of a nucleus \(found: 2 cells without a nucleus\)"):
        analysed(fake_bundle, document(cell, cell))


def test_outlines_through_the_centres_of_pixels_are_widened_as_the_manual_says(fake_bundle):
    own = analyse(TILE, fake_bundle, max_pixels=LIMIT)
    traced = []
    for number in range(1, len(own.cells) + 1):
        mask = (own.cells.nuclei.label_image == number).astype(np.uint8)
        ring = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0][0][:, 0]
        traced.append(shapely.Polygon(ring))
    as_traced = analysed(fake_bundle, document(*({"geometry": mapping(outline)} for outline in traced)))
    lost = own.cells.bboxes[:, 2:] - as_traced.cells.bboxes[:, 2:]
    assert lost.min() >= 0
    assert lost.mean() > 0.5, "the last row and column are lost"
    widened = (translate(outline, 0.5, 0.5).buffer(0.5, join_style="mitre") for outline in traced)
    again = analysed(fake_bundle, document(*({"geometry": mapping(outline)} for outline in widened)))
    np.testing.assert_array_equal(again.cells.nuclei.label_image, own.cells.nuclei.label_image)


def test_what_is_no_nucleus_as_it_came_is_counted_with_its_reason(fake_bundle):
    bow_tie = [[160, 60], [190, 100], [190, 60], [160, 104]]
    analysis = analysed(
        fake_bundle,
        document(
            feature(square(20, 30)),
            feature(square(24, 30)),  # mostly covered by the first
            feature(square(34, 30)),  # keeps 14 of 20 columns
            feature(square(500, 500)),  # outside
            feature(square(-40, 10)),  # outside
            feature(square(100, 100, 3)),  # too small
            feature(bow_tie),
            feature([[1, 1], [2, 2], [1, 1]]),  # no area
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [5, 5]}, "properties": {}},
            {"type": "Feature", "geometry": None, "properties": {}},
        ),
    )
    assert [box[:2] for box in boxes(analysis)][:2] == [[20, 30], [40, 30]]
    assert analysis.cells.areas_px.tolist()[:2] == [400, 280]
    assert len(analysis.cells) == 3
    flag = dropped(analysis)
    assert flag.value == 1 + 2 + 1 + 1 + 1 + 2
    for words in (
        "1 mostly covered by nuclei before them",
        "2 outside the tile",
        "1 smaller than 100 px",
        "1 in several pieces, of which the largest was kept",
        "1 without an area",
        "2 features without a polygon",
    ):
        assert words in flag.message
    assert not flag.prevents_label


def test_nucleus_that_the_border_cuts_by_more_than_half_is_no_cell_as_among_our_own(fake_bundle):
    analysis = analysed(fake_bundle, document(feature(square(-12, 50, 30)), feature(square(-25, 120, 30))))
    assert boxes(analysis) == [[0, 50, 18, 80]]
    assert analysis.n_cut == 1
    assert analysis.cells.touches_border.all()


@pytest.mark.parametrize(
    "nuclei",
    [document(), b"[]", b"\xef\xbb\xbf" + document(), as_file(np.zeros((HEIGHT, WIDTH), np.uint8))],
)
def test_no_nuclei_are_an_answer_without_cells(fake_bundle, nuclei):
    analysis = analysed(fake_bundle, nuclei)
    assert len(analysis.cells) == 0
    assert analysis.label.value == "indeterminate"


def mask():
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x, y in grid_of_centres():
        numbers[y - 8 : y + 8, x - 8 : x + 8] = 255
    return numbers


def deep(depth):
    return b'{"features":' + b"[" * depth + b"]" * depth + b"}"


def two_with_each_number():
    """A label image whose numbers began anew when they were used up."""
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    for i in range(30):
        x, y = 5 + i % 6 * 38, 5 + i // 6 * 38
        numbers[y : y + 20, x : x + 20] = i % 15 + 1
    return numbers


def number_png(mode):
    return encoded(Image.new(mode, (WIDTH, HEIGHT)))


BAD = {
    "nothing": (b"", "empty (0 bytes)"),
    "text": (b"x,y\n1,2\n", "neither GeoJSON nor a label image"),
    "half": (document(feature(square(1, 1)))[:-20], "Read as JSON"),
    "UTF-16": (document(feature(square(1, 1))).decode().encode("utf-16"), "save the file as UTF-8"),
    "a number": (b"5", "not GeoJSON: 5 is no feature. Send a FeatureCollection"),
    "features are no list": (b'{"features": null}', "not GeoJSON: null is no feature"),
    "a feature is no object": (b'{"features": [[1, "2"]]}', "not GeoJSON: 1 is no feature"),
    "an empty object": (b"{}", "an empty object is no feature"),
    "JSON of HoVer-Net": (
        b'{"mag": 40, "nuc": {"1": {"contour": [[1, 2]]}}}',
        "with the members mag, nuc is no feature",
    ),
    "a geometry alone": (json.dumps(feature(square(1, 1))["geometry"]).encode(), "type, coordinates is no feature"),
    "nested too deep": (deep(100_000), "recursion limit"),
    "points": (document(feature(5, 5, kind="Point")), "no polygon of a nucleus (found: 1 Point)"),
    "tiles": (
        document({**feature(square(1, 1)), "properties": {"objectType": "tile"}}),
        "(found: 1 of the kind tile, which is not that of a nucleus)",
    ),
    "lines": (document(feature([1, 1], [2, 2], kind="LineString")), "1 LineString"),
    "NaN": (document(feature(square(1, 1)), feature(square(float("nan"), 1))), "Feature 2 of the nuclei"),
    "infinite": (document(feature(square(1e999, 1))), "Feature 1 of the nuclei"),
    "huge": (document(feature(square(1e9, 1))), "between ±10000000 px"),
    "whole number beyond 64 bits": (document(feature(square(10**30, 1))), "no rings of points"),
    "no pairs": (document(feature([1, 2, 3, 4])), "no rings of points"),
    "uneven pairs": (document(feature([[1, 2], [3], [4, 5]])), "no rings of points"),
    "text in it": (document(feature([["1", "2"], ["3", "4"], ["5", "9"]])), "no rings of points"),
    "null in it": (document(feature([[1, None], [3, 4], [5, 9]])), "no rings of points"),
    "null": (document(feature(None)), "no rings of points"),
    "coordinates of a MultiPolygon": (document(feature(7, kind="MultiPolygon")), "make no MultiPolygon"),
    "all outside": (document(feature(square(5000, 5000))), "None of the 1 nuclei lies within the tile of 240 x 200"),
    "of another tile": (json.dumps({"tile": {"width": 9, "height": 8}, "features": []}).encode(), "of 9 x 8 px"),
    "of another tile of this size": (
        json.dumps({"tile": {"width": WIDTH, "height": HEIGHT, "sha256": 64 * "0"}, "features": []}).encode(),
        "those of another file, with the SHA-256 000000000000…",
    ),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0\0\0", "a gzip archive"),
    "size": (as_file(np.zeros((20, 30), np.uint8)), "the size of the tile, 240 x 200 px; found 30 x 20"),
    "colour": (encoded(PIXELS), "found colours or transparency. Save it as a grey PNG"),
    "grey with transparency": (number_png("LA"), "found colours or transparency"),
    "palette": (number_png("P"), "found a palette of colours"),
    "one bit": (number_png("1"), "found 1 bit, as a mask has"),
    "64 bits": (
        tiff(np.zeros((HEIGHT, WIDTH), np.int64)),
        "at most 32 bits for each pixel; found 64. Save it with 16 or 32.",
    ),
    "JPEG": (encoded(PIXELS, "JPEG"), "a JPEG, which changes the numbers"),
    "fractions": (as_file(np.zeros((HEIGHT, WIDTH), np.float32), "TIFF"), "found fractions"),
    "truncated": (as_file(mask())[:-200], "damaged or truncated"),
    "mask": (as_file(mask()), "has one number in "),
    "numbers beyond 8 bits": (as_file(two_with_each_number()), "has 15 different numbers in 30 separate pieces"),
}


@pytest.mark.parametrize(("nuclei", "words"), BAD.values(), ids=BAD)
def test_bad_nuclei_are_refused_with_what_was_found_and_where(fake_bundle, nuclei, words):
    with pytest.raises(InvalidNuclei) as refused:
        analysed(fake_bundle, nuclei)
    assert words in str(refused.value)


def test_a_region_is_no_nucleus_and_covers_none(fake_bundle):
    tile = encoded(draw_tile([], shape=(200, 900)))
    region = [[0, 0], [900, 0], [900, 200], [0, 200]]
    analysis = analysed(fake_bundle, document(feature(region), feature(square(50, 60))), tile)
    assert boxes(analysis) == [[50, 60, 70, 80]]
    assert dropped(analysis).message.endswith(f": 1 {LARGE}.")
    numbers = np.ones((200, 900), np.uint8)
    numbers[60:80, 50:70] = 2
    assert boxes(analysed(fake_bundle, as_file(numbers), tile)) == [[50, 60, 70, 80]]


def test_what_holds_the_whole_tile_is_no_nucleus_however_small_the_tile(fake_bundle):
    rectangle = feature([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]])
    numbers = np.ones((HEIGHT, WIDTH), np.uint8)
    numbers[130:170, 130:170] = 0
    numbers[140:160, 140:160] = 1  # a second piece of what is no nucleus
    numbers[60:80, 50:70] = 2
    for nuclei in (document(rectangle, feature(square(50, 60))), as_file(numbers)):
        analysis = analysed(fake_bundle, nuclei)
        assert boxes(analysis) == [[50, 60, 70, 80]]
        assert dropped(analysis).message.endswith(f": 1 {LARGE}.")


def test_more_than_a_tile_can_hold_is_refused(fake_bundle, monkeypatch):
    whole = feature(square(0, 0, 200))
    with pytest.raises(TooManyNuclei, match="cover 17 times the area of the tile"):
        analysed(fake_bundle, document(*[whole] * 20))
    comb = [[x % 7, y % 2 * 200] for x, y in zip(range(1000), range(1000), strict=True)]
    with pytest.raises(TooManyNuclei, match="cross the rows of the tile"):
        analysed(fake_bundle, document(feature(comb)))
    with pytest.raises(TooManyNuclei, match="at most 65535 nuclei"):
        analysed(fake_bundle, document(feature(*[[square(1, 1, 2)]] * (MAX_NUCLEI + 1), kind="MultiPolygon")))
    with pytest.raises(TooManyNuclei, match="65535 nuclei or other features"):
        analysed(fake_bundle, b"[" + b"{}," * (MAX_NUCLEI + 1) + b"{}]")
    monkeypatch.setattr(uploaded_nuclei, "MAX_POINTS", 9)
    with pytest.raises(TooManyNuclei, match="at most 9 points"):
        analysed(fake_bundle, document(*[feature(square(50, 50))] * 3))


NUMBERS = st.one_of(
    st.integers(-300, 300), st.floats(-300, 300), st.floats(), st.integers(), st.none(), st.text(max_size=2)
)
POINTS = st.lists(st.one_of(NUMBERS, st.lists(st.floats(-50, 300), max_size=3)), max_size=6)
GEOMETRIES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Polygon", "MultiPolygon", "GeometryCollection", "Point", 7]),
        "coordinates": st.recursive(POINTS, lambda inner: st.lists(inner, max_size=4), max_leaves=12),
    },
    optional={"geometries": st.lists(st.none(), max_size=2)},
)
FEATURES = st.fixed_dictionaries(
    {"geometry": st.one_of(GEOMETRIES, st.none(), st.integers())},
    optional={"nucleusGeometry": GEOMETRIES, "properties": st.dictionaries(st.text(max_size=3), NUMBERS, max_size=2)},
)
RINGS = st.lists(st.tuples(st.floats(-80, 300), st.floats(-80, 300)), min_size=1, max_size=9)


@settings(max_examples=150)
@given(st.one_of(st.lists(FEATURES, max_size=3), FEATURES, st.binary(max_size=40)))
def test_whatever_comes_is_answered_or_refused_in_words(fake_bundle_once, content):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    try:
        analysed(fake_bundle_once, data)
    except PipelineError as error:
        assert str(error).endswith((".", ")"))


@settings(max_examples=80)
@given(st.lists(st.lists(RINGS, min_size=1, max_size=2), min_size=1, max_size=6))
def test_polygons_of_any_shape_give_separate_pieces_in_reading_order(fake_bundle_once, polygons):
    try:
        analysis = analysed(fake_bundle_once, document(*(feature(*rings) for rings in polygons)))
    except (InvalidNuclei, TooManyNuclei):
        return
    nuclei = analysis.cells.nuclei
    tops = [np.flatnonzero(nuclei.label_image.ravel() == i + 1)[0] for i in range(len(nuclei))]
    assert tops == sorted(tops)
    assert all(len(polygon) >= 1 for polygon in analysis.cells.polygons)
    assert len(nuclei) <= len(polygons)
