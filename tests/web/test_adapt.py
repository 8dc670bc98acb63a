"""A bundle is adapted on the page."""

import pytest

from tests.adapt.recoloured import recoloured_tiles
from tests.served import served
from tests.web.steps import SHOWN, upload
from tests.web.test_accessibility import violations

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiles(bm_graz):
    return dict(list(recoloured_tiles(bm_graz, 700).items())[:3])


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with served(taught_dir=tmp_path_factory.mktemp("taught")) as (_, found):
        yield found


def test_tiles_that_look_different_lead_to_a_bundle_of_ones_own(open_page, lab, tiles, shoot):
    page = open_page(url=lab)
    page.refused.add(422)
    upload(page, "one.png", list(tiles.values())[-1])
    page.wait_for_selector(SHOWN)
    page.focus("#adapt-open")
    page.keyboard.press("Enter")
    assert page.is_visible("#adapt")
    files = [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in tiles.items()]
    page.set_input_files("#adapt-tiles", files[:2])
    page.fill("#adapt-name", "ours")
    page.press("#adapt-name", "Enter")
    assert page.evaluate("() => document.querySelector('#adapt-tiles').validationMessage") == "Choose 3 to 50 tiles."
    page.set_input_files("#adapt-tiles", files)
    assert "10 or more are wanted" in page.text_content("#adapt-chosen")
    page.fill("#adapt-name", "marrow")
    page.press("#adapt-name", "Enter")
    page.wait_for_selector("#adapt-result .problem >> text=choose another name")
    assert violations(page) == []
    shoot(page, "adapt-refused")
    page.fill("#adapt-name", "ours")
    page.press("#adapt-name", "Enter")
    page.wait_for_selector("#adapt-progress")
    page.wait_for_selector("#adapt-result a")
    assert "ours 1 was adapted to 3 tiles" in page.text_content("#adapt-result")
    assert page.input_value("#bundle") == "ours"
    assert violations(page) == []
    shoot(page, "adapted")
    complaints = []
    page.context.on("console", lambda message: complaints.append(message.text))
    with page.context.expect_page() as waiting:
        page.click("#adapt-result a")
    report = waiting.value
    report.wait_for_function("() => document.images.length && [...document.images].every(image => image.naturalWidth)")
    assert complaints == [], "the report breaks no rule of its policy"
    assert "ours 1" in report.text_content("h1")
    page.click("#adapt-close")
    assert not page.is_visible("#adapt")
    upload(page, "again.png", list(tiles.values())[-1])
    page.wait_for_function("() => document.querySelector('#tile-facts').textContent.includes('bundle ours 1')")
    rows = page.locator("#summary tbody tr").all_inner_texts()
    assert [row.split()[-2] for row in rows] == ["marrow", "ours"], "each says whose it is"


def test_service_that_adapts_nothing_does_not_speak_of_it(open_page, tiles):
    page = open_page()
    upload(page, "one.png", list(tiles.values())[-1])
    page.wait_for_selector(SHOWN)
    assert page.locator("#adapt-open").count() == 0
