import sys

import httpx
import pytest

from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.keys_file import write_keys
from tests.served import served
from tests.waiting import PATIENCE_S, until
from tests.web.steps import download
from tests.web.test_accessibility import violations

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="a service on Windows runs no batches"),
]
FINISHED = "#batch-table tr[data-state=finished]"


@pytest.fixture(scope="module")
def tile():
    return encoded(draw_tile(grid_of_centres()))


@pytest.fixture(scope="module")
def place(tmp_path_factory, tile):
    folder = tmp_path_factory.mktemp("service")
    (folder / "slides" / "study").mkdir(parents=True)
    (folder / "slides" / "study" / "one.png").write_bytes(tile)
    return folder


@pytest.fixture(scope="module")
def lab(place):
    with served(batches_dir=place / "batches", slides_dir=place / "slides", batch_workers=1) as (_, found):
        yield found


@pytest.fixture(scope="module")
def finished(lab, tile):
    """A batch of two tiles, one of which is no picture, that has ended: one that another test began, or a new one."""
    with httpx.Client(base_url=lab, timeout=PATIENCE_S) as client:

        def listed(state):
            batches = client.get("/batches").json()["batches"]
            return [one for one in batches if one["state"] == state and one["source"] == "2 uploaded files"]

        if not listed("finished"):
            files = [("tiles", ("good.png", tile)), ("tiles", ("bad.png", b"no picture"))]
            assert client.post("/batches", files=files).status_code == 202
        return until(lambda: listed("finished"))[0]


def choose(page, **files):
    page.set_input_files(
        "#batch-tiles",
        [{"name": f"{name}.png", "mimeType": "image/png", "buffer": data} for name, data in files.items()],
    )


def test_tiles_are_sent_and_their_report_is_read(open_page, lab, tile, shoot):
    page = open_page(url=lab)
    assert violations(page) == []
    page.click("#batch-start")
    assert "not both" in page.text_content("#batch-news"), "nothing was chosen"
    choose(page, good=tile, bad=b"no picture")
    assert page.text_content("#batch-chosen").startswith("2 files, ")
    page.click("#batch-start")
    # It may have ended before a busy browser looks again.
    page.wait_for_selector("#batch-table tr:is([data-state=running], [data-state=finished])")
    assert violations(page) == []
    shoot(page, "batch-runs", full_page=True)

    row = page.locator(FINISHED)
    row.wait_for()
    assert "2 uploaded files" in row.text_content()
    assert "1 of 2 slides, 1 tile" in row.text_content()
    row.locator("summary >> text=1 slide failed").click()
    row.locator("li >> text=bad").wait_for()
    row.locator("summary >> text=Files").click()
    row.locator("a >> text=slides/good/cells.geojson").wait_for()
    assert violations(page) == []
    shoot(page, "batch-finished", full_page=True)

    complaints = []
    page.context.on("console", lambda message: complaints.append(message.text))
    with page.context.expect_page() as waiting:
        row.locator("a >> text='Report'").click()
    report = waiting.value
    report.wait_for_load_state()
    report.click("a >> text=good")
    report.wait_for_url("**/results/slides/good/report.html")
    report.wait_for_function("() => [...document.images].every(image => image.naturalWidth)")
    assert complaints == [], "a report breaks no rule of its policy"


def test_path_is_analysed_and_cancelled(open_page, lab):
    page = open_page(url=lab)
    page.refused.add(422)
    page.fill("#batch-path", "study/none*")
    page.press("#batch-path", "Enter")
    page.wait_for_selector("#problems .problem")
    assert "no such path" in page.text_content("#problems")
    page.fill("#batch-path", "study/*.png")
    page.click("#batch-start")
    page.click("#batch-table button >> text=Cancel")
    page.wait_for_selector("#batch-table tr[data-state=cancelled] >> text=study/*.png")
    assert page.input_value("#batch-path") == ""


def test_batches_fit_a_tablet_in_both_colours(open_page, lab, finished):
    page = open_page(820, 1180, url=lab)
    page.click("#batch-form summary")
    page.wait_for_selector("#batch-table tbody tr")
    assert violations(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out to the right"


def test_service_without_batches_does_not_speak_of_them(page):
    assert not page.is_visible("#batches")
    assert not page.is_visible("#to-batches")
    assert not any(asked.endswith("/batches") for asked in page.asked)


def test_where_a_key_is_needed_results_are_saved(empty_page, place, finished, tmp_path):
    """A link cannot carry a key. The batches are those of the other service: they share their database."""
    keys = write_keys(tmp_path / "keys.json", browser="secret")
    with served(batches_dir=place / "batches", keys_file=keys) as (_, url):
        page = empty_page
        page.goto(url)
        page.fill("#key", "secret")
        page.press("#key", "Tab")
        page.wait_for_selector(f"{FINISHED} >> text=2 uploaded files")
        assert not page.is_visible("#batch-path"), "this one has no root"
        data, name = download(page, f"{FINISHED}:has-text('2 uploaded files') button >> text=Report")
        assert name == "index.html"
        assert b"good" in data
