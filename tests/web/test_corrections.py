"""Types that a person corrects on the page, with a bundle that knows types: what is counted, taken back and sent on."""

import csv
import hashlib
import io
import json
import shutil

import httpx
import pytest

from tests.cell_classifiers import taught_values
from tests.served import served
from tests.waiting import PATIENCE_S, until
from tests.web.steps import download, try_sample
from tests.web.test_accessibility import violations

pytestmark = pytest.mark.slow

DARK, PALE = "dark small", "pale large"
AREA_UM2 = 15.0
"""Larger nuclei of the sample are of the second type."""


@pytest.fixture(scope="module")
def service(encoder_bundle, tmp_path_factory):
    """A service with a bundle that knows two types by the size of the nucleus, and with an empty review."""
    folder = tmp_path_factory.mktemp("corrections")
    bundle = shutil.copytree(encoder_bundle, folder / "models" / encoder_bundle.name)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["cell_classifier"] = taught_values() | {
        "measurements": ["area"],
        "mean": [0.0] * 8 + [AREA_UM2],
        "deviation": [1.0] * 9,
        "weights": [[0.0] * 8 + [-1.0], [0.0] * 9],
    }
    manifest["cell_classifier"]["source"]["bundle_sha256"] = hashlib.sha256(
        (encoder_bundle / "manifest.json").read_bytes()
    ).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    settings = {"bundles_dir": folder / "models", "bundle": encoder_bundle.name, "reviews_dir": folder / "reviews"}
    with served(**settings) as (_, found):
        yield found


@pytest.fixture(scope="module")
def answer(service, shipped_bundle):
    sample = (shipped_bundle / "sample.png").read_bytes()
    return httpx.post(f"{service}/analyze", files={"tile": sample}, timeout=PATIENCE_S).json()


@pytest.fixture(scope="module")
def cells(answer):
    """Numbers of three cells that the bundle finds dark and small, and are no outliers."""
    return [cell["id"] for cell in answer["cells"] if cell["type"] == DARK and not cell["outlier"]][:3]


@pytest.fixture
def corrected(open_page, service):
    """Open the page on the sample tile, under a name."""

    def show(**options):
        page = open_page(url=service, **options)
        try_sample(page)
        page.fill("#corrector", "A. Smith")
        return page

    return show


def choose(page, cell):
    """Choose a cell by its row in the table."""
    page.evaluate("cell => document.querySelector(`#cells-table tr[data-id='${cell}'] td`).click()", cell)
    page.wait_for_selector("#cell.chosen")
    assert page.text_content("#cell h3").startswith(f"Cell {cell}:")


def counts(page):
    return [int(row.locator("td").first.text_content()) for row in page.locator("#types tbody tr").all()]


def said(page, text):
    until(lambda: text in page.text_content("#corrections-line"))


def test_another_type_is_counted_at_once_and_can_be_taken_back(corrected, answer, cells, shoot):
    page = corrected()
    before = [one["count"] for one in answer["types"]]
    assert counts(page) == before
    assert page.is_disabled("#correct-undo")
    assert page.is_disabled("#correct-send")
    choose(page, cells[0])
    page.focus("#cell-type")
    page.select_option("#cell-type", PALE)
    said(page, "1 cell corrected by A. Smith.")
    assert counts(page) == [before[0] - 1, before[1] + 1]
    assert page.text_content("#cell h3") == f"Cell {cells[0]}: {PALE}"
    assert "type corrected by A. Smith" in page.text_content("#cell")
    assert page.get_attribute(f"#cell-{cells[0]}", "stroke") == "#0072b2"
    assert page.text_content("#filter label:has-text('pale large')") == f"{PALE} ({before[1] + 1})"
    assert page.evaluate("document.activeElement.id") == "cell-type", "the keyboard stays where it was"
    for place in (f"#cell-{cells[1]}", "#viewer svg.cells", f"#cell-{cells[0]}"):
        page.dispatch_event(place, "pointermove", {"pointerType": "mouse"})
        assert page.evaluate("document.activeElement.id") == "cell-type", "the pointer does not take the list away"
    shoot(page, "corrections", full_page=True)
    page.select_option("#cell-type", "")
    said(page, "No type was corrected.")
    page.click("#correct-undo")
    said(page, "1 cell corrected")
    page.click("#correct-undo")
    said(page, "No type was corrected.")
    assert counts(page) == before
    assert page.is_disabled("#correct-undo")


def test_digits_correct_cells_in_the_picture_and_downloads_have_it(corrected, answer, cells):
    page = corrected()
    for cell in cells:
        choose(page, cell)
        page.focus("#viewer svg.cells")
        page.keyboard.press("2")
    said(page, "3 cells corrected by A. Smith.")
    assert page.get_attribute(f"#cell-{cells[0]}", "aria-label").startswith(f"Cell {cells[0]}, {PALE}, corrected, ")
    assert page.locator("#cells-table td:has-text('corrected')").count() == len(cells)
    data, _ = download(page, "#downloads [data-format='json']")
    saved = json.loads(data)
    assert saved["corrections"] == {"n": 3, "by": "A. Smith"}
    assert [cell["id"] for cell in saved["cells"] if cell.get("type_corrected")] == cells
    assert saved["parameters"]["corrections"] == {PALE: cells}
    data, _ = download(page, "#downloads [data-format='csv']")
    assert data.decode().count(",1.0,true,") == len(cells)
    page.keyboard.press("Tab")
    assert violations(page) == []


def test_table_of_tiles_says_which_were_corrected(corrected, cells):
    page = corrected()
    choose(page, cells[0])
    page.select_option("#cell-type", PALE)
    said(page, "1 cell corrected by A. Smith.")
    page.click("#sample")
    page.wait_for_selector("#summary tbody tr:nth-child(2) button")
    data, _ = download(page, "#summary-csv")
    rows = csv.DictReader(io.StringIO(data.decode(), newline=""))
    assert [(row["corrected_cells"], row["corrected_by"]) for row in rows] == [("1", "A. Smith"), ("", "")]


def test_types_that_are_hidden_stay_hidden(corrected, cells):
    page = corrected()
    page.uncheck("#filter label:has-text('pale large') input")
    choose(page, cells[0])
    page.select_option("#cell-type", PALE)
    said(page, "1 cell corrected")
    assert not page.is_checked("#filter label:has-text('pale large') input")
    assert not page.is_visible(f"#cell-{cells[0]}")
    assert page.is_visible(f"#cell-{cells[1]}")


def test_refusal_goes_back_to_what_was_counted(corrected, answer, cells):
    page = corrected()
    page.refused.add(422)
    choose(page, cells[0])
    page.route("**/analyze*", lambda route: route.fulfill(status=422, json={"title": "No", "detail": "Not this one."}))
    page.select_option("#cell-type", PALE)
    page.wait_for_selector("#problems .problem")
    assert "Not this one." in page.text_content("#problems")
    said(page, "No type was corrected.")
    assert page.input_value("#cell-type") == ""
    assert counts(page) == [one["count"] for one in answer["types"]]


def test_bundle_that_was_taught_again_is_not_corrected_unseen(corrected, service, answer, cells):
    page = corrected()
    page.refused.add(409)
    choose(page, cells[0])
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/analyze?" in request.url else None)
    page.select_option("#cell-type", PALE)
    said(page, "1 cell corrected")
    assert f"cells_sha256={answer['cells_sha256']}" in asked[-1]
    # The same as a bundle that was taught again, to the service and to the page.
    other = "0" * 64
    page.route(
        "**/analyze?*", lambda route: route.continue_(url=route.request.url.replace(answer["cells_sha256"], other))
    )
    choose(page, cells[1])
    page.select_option("#cell-type", PALE)
    page.wait_for_selector("#problems .problem")
    assert "may be another cell now" in page.text_content("#problems")
    said(page, "1 cell corrected")
    page.unroute("**/analyze?*")
    page.route("**/analyze?*", lambda route: route.fulfill(json={**answer, "cells_sha256": other}))
    page.click("#correct-undo")
    until(lambda: "may number cells otherwise" in page.text_content("#problems"))
    said(page, "1 cell corrected")


def test_corrected_cells_go_to_the_review(corrected, service, cells):
    page = corrected()
    for cell in cells[:2]:
        choose(page, cell)
        page.focus("#viewer svg.cells")
        page.keyboard.press("2")
    said(page, "2 cells corrected by A. Smith.")
    page.click("#correct-send")
    said(page, "2 of them have their names in the review.")
    progress = httpx.get(f"{service}/reviews", timeout=PATIENCE_S).json()
    assert [(one["name"], one["count"]) for one in progress["types"]] == [(PALE, 2)]
    assert [(one["name"], one["n_names"]) for one in progress["reviewers"]] == [("A. Smith", 2)]


def test_corrections_put_up_no_barrier(corrected, cells):
    page = corrected()
    choose(page, cells[0])
    page.select_option("#cell-type", PALE)
    said(page, "1 cell corrected")
    assert violations(page) == []
