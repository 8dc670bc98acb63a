import csv
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.drawing import encoded
from tests.keys_file import write_keys
from tests.served import served
from tests.waiting import PATIENCE_S, until
from tests.web.steps import SHOWN, download, hover, try_sample, upload

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def answer(address, sample_bytes):
    return httpx.post(f"{address}/analyze", files={"tile": sample_bytes}, timeout=PATIENCE_S).json()


@pytest.fixture(scope="module")
def sample_bytes(shipped_bundle):
    return (shipped_bundle / "sample.png").read_bytes()


def as_tiff(data):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "TIFF")
    return buffer.getvalue()


def test_main_job_from_sample_to_geojson_and_a_bad_file(page, answer, shoot):
    page.refused.add(415)
    assert page.is_visible("#notice")
    assert "simulated" in page.text_content("#model-card").lower()

    try_sample(page)
    assert page.locator("path.cell").count() == len(answer["cells"])
    assert f"preset {answer['segmentation']['method']} · bundle marrow" in page.text_content("#tile-facts")
    assert f"preset {answer['segmentation']['method']}" in page.text_content("#model-card")
    assert page.text_content("#label .verdict strong") == answer["label"]["value"]
    assert page.text_content("#label .tag") == "simulated"
    assert answer["label"]["basis"] in page.text_content("#label")
    for flag in answer["quality"]["flags"]:
        assert flag["message"] in page.text_content("#quality")
    for row, cluster in zip(page.locator("#proportions tbody tr:has(th)").all(), answer["clusters"], strict=True):
        text = row.text_content()
        assert f"Cluster {cluster['cluster']}" in text
        assert f"{100 * cluster['proportion']:.1f}%" in text
        assert f"{100 * cluster['interval'][1]:.1f}%" in text

    cell = answer["cells"][70]
    hover(page, cell["id"])
    panel = page.text_content("#cell")
    assert f"Cell {cell['id']}: cluster {cell['cluster']}" in panel
    assert f"{100 * max(cell['probabilities']):.0f}%" in panel
    # The README shows this one.
    shoot(page, "sample", full_page=True, clip={"x": 0, "y": 0, "width": 1280, "height": 1240})

    page.uncheck(f"#filter [data-group='{cell['cluster']}']")
    assert not page.is_visible(f"#cell-{cell['id']}")
    other = next(found for found in answer["cells"] if found["cluster"] != cell["cluster"])
    assert page.is_visible(f"#cell-{other['id']}")

    data, name = download(page, "#downloads [data-format='geojson']")
    assert name == "synthetic-sample.geojson"
    assert len(json.loads(data)["features"]) == len(answer["cells"])

    upload(page, "letter.png", b"Dear colleague")
    page.wait_for_selector("#problems .problem")
    assert "letter.png" in page.text_content("#problems")
    assert "The upload is not a PNG, JPEG or TIFF image." in page.text_content("#problems")
    assert page.is_visible("#label .verdict"), "what was there stays"
    shoot(page, "bad-file")


def test_downloads_are_what_the_service_gives(page, address, sample_bytes):
    try_sample(page)
    for format in ("csv", "overlay", "labels"):
        data, _ = download(page, f"#downloads [data-format='{format}']")
        files = {"tile": sample_bytes}
        assert data == httpx.post(f"{address}/analyze?format={format}", files=files, timeout=PATIENCE_S).content
    data, name = download(page, "#downloads [data-format='json']")
    assert name == "synthetic-sample.json"
    assert json.loads(data)["notice"].startswith("For Research Use Only")


def test_cells_are_reached_with_the_keyboard(page, answer):
    try_sample(page)
    page.focus("svg.cells")
    assert page.is_visible("#cell")
    first = page.get_attribute("svg.cells", "aria-activedescendant")
    page.keyboard.press("ArrowRight")
    second = page.get_attribute("svg.cells", "aria-activedescendant")
    x = [answer["cells"][int(found.removeprefix("cell-"))]["centroid"][0] for found in (first, second)]
    assert x[1] > x[0]
    described = page.get_attribute(f"#{second}", "aria-label")
    assert described.startswith(f"Cell {second.removeprefix('cell-')}, ")
    assert page.get_attribute(f"#{second}", "aria-selected") == "true"
    width = page.locator("svg.cells").bounding_box()["width"]
    page.keyboard.press("+")
    page.wait_for_function(
        "width => document.querySelector('svg.cells').getBoundingClientRect().width > width", arg=width
    )
    page.keyboard.press("Escape")
    assert not page.is_visible("#cell")


def test_a_cell_of_the_gallery_is_shown_in_the_tile(page):
    try_sample(page)
    button = page.locator("#gallery .crops button").nth(20)
    name = button.get_attribute("aria-label").split(",")[0]
    button.click()
    page.wait_for_selector("#cell:not([hidden])")
    assert page.text_content("#cell").startswith(name)


DRAWN = """() => {
  const shown = [...document.querySelectorAll("#gallery .prototypes canvas")];
  const blank = Object.assign(document.createElement("canvas"), { width: shown[0]?.width, height: shown[0]?.height });
  return shown.length > 0 && shown.every((canvas) => canvas.toDataURL() !== blank.toDataURL());
}"""


def test_new_draws_are_other_prototypes(page):
    try_sample(page)
    page.wait_for_function(DRAWN)
    first = "document.querySelector('#gallery .prototypes canvas').toDataURL()"
    before = page.evaluate(first)
    page.locator("#gallery .drawn button").first.click()
    page.wait_for_function(f"before => {first} !== before", arg=before)
    assert sum("/prototypes/0?" in asked for asked in page.asked) == 2


@pytest.mark.parametrize("width", [360, 820, 1280])
@pytest.mark.parametrize("kind", ["crops", "prototypes"])
def test_cells_of_the_gallery_are_large_enough_to_see_chromatin_and_wrap(open_page, shoot, kind, width):
    page = open_page(width, 900)
    try_sample(page)
    page.wait_for_function(DRAWN)
    boxes = [canvas.bounding_box() for canvas in page.locator(f"#gallery .{kind} canvas").all()]
    assert min(min(box["width"], box["height"]) for box in boxes) >= 96
    assert all(box["width"] == pytest.approx(box["height"], abs=1) for box in boxes)
    assert max(box["x"] + box["width"] for box in boxes) <= width
    # Enlarged from 32 px, smoothly: few neighbouring pixels of the nucleus are the same.
    same = page.evaluate(
        """(kind) => {
      const canvas = document.querySelector(`#gallery .${kind} canvas`);
      const middle = canvas.width / 2;
      const row = canvas.getContext("2d").getImageData(middle - 32, middle, 64, 1).data;
      let same = 0;
      for (let i = 4; i < row.length; i += 4) same += [0, 1, 2].every((c) => row[i + c] === row[i + c - 4]);
      return same / 63;
    }""",
        kind,
    )
    assert same < 0.5
    rendering = "kind => getComputedStyle(document.querySelector(`#gallery .${kind} canvas`)).imageRendering"
    assert page.evaluate(rendering, kind) == "auto"
    shoot(page, f"{kind}-{width}", full_page=True)


def test_nothing_sticks_out_of_a_narrow_page(open_page):
    page = open_page(360, 800)
    try_sample(page)
    page.wait_for_function(DRAWN)
    page.evaluate("() => document.querySelectorAll('details').forEach((part) => (part.open = true))")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360


def test_several_tiles_are_worked_off_and_listed(page, sample_bytes, shoot):
    page.refused.add(415)
    white = io.BytesIO()
    Image.new("RGB", (300, 200), "white").save(white, "PNG")
    files = [("one.png", sample_bytes), ("two.png", white.getvalue()), ("=1+2.png", b"not a picture")]
    page.set_input_files("#files", [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files])
    page.wait_for_selector("#summary tbody tr:nth-child(3) .bad")
    rows = [row.text_content() for row in page.locator("#summary tbody tr").all()]
    assert "one.png" in rows[0]
    assert "normal" in rows[0]
    assert "indeterminate" in rows[1]
    assert "failed: The upload is not a PNG, JPEG or TIFF image." in rows[2]
    shoot(page, "several", full_page=True)

    page.click("#summary button >> text=two.png")
    page.wait_for_function("() => document.querySelector('#tile-name').textContent === 'two.png'")
    page.wait_for_function("() => document.querySelectorAll('path.cell').length === 0")
    assert "No cell was counted" in page.text_content("#label")
    assert not page.is_visible("#cells")
    shoot(page, "white", full_page=True)

    data, name = download(page, "#summary-csv")
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert name == "summary.csv"
    assert [row["status"] for row in rows] == ["ok", "ok", "failed"]
    assert [row["tile"] for row in rows] == ["one.png", "two.png", "'=1+2.png"]
    assert float(rows[0]["score"]) < 0  # a number is no formula
    assert [row["bundle"] for row in rows] == ["marrow", "marrow", ""]

    upload(page, "three.png", sample_bytes)
    page.wait_for_function("() => document.querySelector('#tile-name').textContent === 'three.png'")
    upload(page, "four.png", sample_bytes)
    page.click("#summary button >> text=one.png")
    page.wait_for_selector("#summary tbody tr:nth-child(5) >> text=normal")
    assert page.text_content("#tile-name") == "one.png", "who has chosen a tile goes on looking at it"
    assert "Bundle" not in page.text_content("#summary"), "all are of one"

    page.click("#clear")
    assert not page.is_visible("#result")
    assert not page.is_visible("#queue")


def test_tile_that_a_browser_cannot_show_is_shown_all_the_same(page, sample_bytes, answer):
    upload(page, "sample.tif", as_tiff(sample_bytes), "image/tiff")
    page.wait_for_selector(SHOWN)
    assert page.locator("path.cell").count() == len(answer["cells"])
    assert any("format=tile" in asked for asked in page.asked)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_photograph_is_shown_as_it_is_stored_for_its_outlines_are_those_of_the_stored_pixels(
    page, sample_bytes, shoot, orientation
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(io.BytesIO(sample_bytes)) as image:
        stored = np.array(image.convert("RGB"))
    stored[:100, -100:] = stored[-100:, -100:] = 255
    stored[:100, :100] = 0  # a mark in one corner
    upload(page, "phone.jpg", encoded(stored, "JPEG", exif=exif, quality=95), "image/jpeg")
    page.wait_for_selector(SHOWN)
    shoot(page, f"orientation-{orientation}")
    box = page.locator("#viewer svg").bounding_box()

    def brightness(across, down):
        with Image.open(io.BytesIO(page.screenshot())) as screen:
            at = (int(box["x"] + across * box["width"]), int(box["y"] + down * box["height"]))
            return screen.convert("L").getpixel(at)

    until(lambda: brightness(0.1, 0.1) < 30 or brightness(0.9, 0.9) < 30)
    assert brightness(0.1, 0.1) < 30, "the marked corner is where it is stored"
    assert min(brightness(0.9, 0.9), brightness(0.9, 0.1)) > 60
    assert "orientation" in page.text_content("#quality")


def test_tiles_can_be_dropped(page, sample_bytes):
    dropped = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            return transfer;
        }""",
        list(sample_bytes),
    )
    page.dispatch_event("#intake", "drop", {"dataTransfer": dropped})
    page.wait_for_selector(SHOWN)
    assert page.text_content("#tile-name") == "dropped.png"


def posted(page):
    """How often a tile was sent. Pictures of prototypes may still be asked for."""
    return sum("/analyze?" in asked for asked in page.asked)


def test_scale_is_sent_and_checked(page, sample_bytes):
    page.fill("#mpp", "0.25")
    upload(page, "scaled.png", sample_bytes)
    page.wait_for_selector(SHOWN)
    assert "0.25 µm per pixel" in page.text_content("#tile-facts")
    assert "Scale not given" not in page.text_content("#quality")
    page.fill("#mpp", "9")
    asked = posted(page)
    upload(page, "wrong.png", sample_bytes)
    page.fill("#mpp", "0.5")
    with page.expect_request("**/analyze?*"):
        upload(page, "right.png", sample_bytes)
    assert posted(page) == asked + 1, "the browser says that 9 is too much, and that tile is not sent"


def test_busy_service_is_asked_again(page):
    page.refused.add(503)
    problem = {"title": "Service Unavailable", "status": 503, "detail": "busy", "request_id": "0" * 32}
    answers = iter([True])

    def once_busy(route):
        if next(answers, False):
            route.fulfill(status=503, headers={"Retry-After": "1"}, json=problem)
        else:
            route.continue_()

    page.route("**/analyze?*", once_busy)
    try_sample(page)
    assert page.locator("#problems .problem").count() == 0


def test_service_that_is_gone_is_said_in_words(page):
    page.refused.add("ERR_FAILED")
    page.route("**/analyze?*", lambda route: route.abort())
    page.click("#sample")
    page.wait_for_selector("#problems .problem")
    assert "cannot be reached" in page.text_content("#problems")


def test_api_key_is_asked_for_where_one_is_needed(empty_page, sample_bytes, tmp_path):
    with served(keys_file=write_keys(tmp_path / "keys.json", browser="secret")) as (_, url):
        page = empty_page
        page.goto(url)
        page.wait_for_selector("#key")
        assert "valid key" in page.text_content("#problems")
        page.fill("#key", "secret")
        page.press("#key", "Tab")
        page.wait_for_selector("#card-title")
        upload(page, "mine.png", sample_bytes)
        page.wait_for_selector(SHOWN)


@pytest.mark.parametrize("size", [(1280, 800), (820, 1180)], ids=["laptop", "tablet"])
def test_real_tile_fits_a_laptop_and_a_tablet(open_page, bm_graz, shoot, size):
    page = open_page(*size)
    page.set_input_files("#files", bm_graz / "tiles" / "BM_GRAZ_HE_0007_01.png")
    page.wait_for_selector(SHOWN)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out to the right"
    tile, view = page.locator("svg.cells").bounding_box(), page.locator("#viewer").bounding_box()
    assert tile["height"] <= view["height"] + 1, "the whole tile is in sight"
    page.wait_for_function(DRAWN)
    shoot(page, f"tile-{size[0]}", full_page=True)
