"""What a person reads off the page about tissue, clusters and single cells, of answers whose numbers are known."""

import csv
import io
import re

import httpx
import pytest

from app.answer.schemas import AnalysisOut
from app.pipeline.tissue.classes import CLASS_COLORS
from tests.waiting import PATIENCE_S, until
from tests.web.answers import UNMEASURED, with_measurements, with_nothing_known, without_measurements
from tests.web.steps import download, hover, try_sample
from tests.web.test_accessibility import violations

pytestmark = pytest.mark.slow

HEADINGS = "#cells-table thead th"
ROWS = "#cells-table tbody tr"


@pytest.fixture(scope="module")
def answer(address, shipped_bundle):
    sample = (shipped_bundle / "sample.png").read_bytes()
    return httpx.post(f"{address}/analyze", files={"tile": sample}, timeout=PATIENCE_S).json()


@pytest.fixture
def shown(open_page, answer):
    """Open the page on the sample tile with a changed answer: `shown(change, …)`, where the rest is for `open_page`."""

    def show(change=with_measurements, **options):
        page = open_page(**options)
        page.route("**/analyze?format=json*", lambda route: route.fulfill(json=change(answer)))
        try_sample(page)
        return page

    return show


@pytest.mark.parametrize("change", [with_measurements, with_nothing_known])
def test_the_answers_of_these_tests_are_such_as_the_service_gives(answer, change):
    AnalysisOut.model_validate(change(answer))


def ids(page):
    """The numbers of the cells that the table lists, from top to bottom."""
    return [int(row.get_attribute("data-id")) for row in page.locator(ROWS).all()]


def heading(page, text):
    return page.locator(HEADINGS, has_text=text)


def words(page):
    """All that the page says, the descriptions for screen readers included."""
    labels = page.eval_on_selector_all("[aria-label], [title]", "all => all.map(one => one.ariaLabel || one.title)")
    return page.text_content("body") + " ".join(labels)


def test_cellularity_composition_and_reference_ranges_are_read_off(shown, shoot):
    page = shown()
    tissue = page.text_content("#tissue")
    assert page.text_content("#tissue .digits") == "43%"
    assert "low" in tissue
    assert "Below the reference range 45–80%; indicative: 11 tiles of 8 patients" in tissue
    for part in ("Haematopoietic 31%", "Fat 41%", "Bone and stroma 12%", "Red cells 6%", "Background 10%"):
        assert part in tissue
    assert "high 10.0–25.0%" in page.text_content("#proportions tbody tr:first-child")
    assert page.text_content("#proportions tbody tr:nth-child(2)") == "Large, pale, open chromatin"
    assert page.locator("#proportions .band").count() == 1
    assert "indicative: 11 tiles of 8 patients" in page.text_content("#proportions")
    cluster = page.text_content("#gallery .clusters section:first-child")
    assert "Large, pale, open chromatin" in cluster
    assert "Nuclear area 33.3 µm² (30.0–38.8)" in cluster
    assert "within the reference region of 11 tiles: no (distance 4.25, threshold 3.50)" in page.text_content("#label")
    assert "Nuclear area, median0.77" in page.text_content("#label details"), "the parts add up to the score"
    assert "the lower limit is 55–65 µm² and the upper limit 75–85 µm²" in page.text_content("#histogram")
    assert "Medians outside the range of the reference tiles: Dark clumps ▼ low" in page.text_content("#histogram")
    assert "Reference range of a tile's median: 60–80 µm² (indicative: 11 tiles of 8 patients)" in page.text_content(
        "#histogram"
    )
    shoot(page, "measurements", full_page=True)
    page.click("#histogram >> button >> text=Dark clumps")
    assert page.input_value("#histogram-of") == "dark_clumps"
    assert "This tile: ▼ low" in page.text_content("#histogram")


def test_cells_are_sorted_by_any_column_and_those_without_a_value_stay_last(shown, answer):
    page = shown()
    n = len(answer["cells"])
    assert n > 100, "there are two pages of cells"
    assert ids(page) == list(range(100))
    assert heading(page, "Cell").get_attribute("aria-sort") == "ascending"

    heading(page, "Nuclear area (µm²)").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert heading(page, "Nuclear area (µm²)").get_attribute("aria-sort") == "ascending"
    assert heading(page, "Cell").get_attribute("aria-sort") == "none"
    page.keyboard.press("Enter")
    assert heading(page, "Nuclear area (µm²)").get_attribute("aria-sort") == "descending"
    assert ids(page)[:2] == [n - 1, n - 2]
    for _ in range((n - 1) // 100):
        page.get_by_role("button", name="Next").click()
    assert ids(page)[-1] == UNMEASURED
    last = page.locator(ROWS).last.text_content()
    assert "not measured: touches border" in last
    assert f"{(n - 1) // 100 * 100 + 1}–{n} of {n} cells" in page.text_content("#cells-actions")


def test_columns_are_chosen_and_the_table_is_downloaded(shown):
    page = shown()
    page.click("#cells-columns summary")
    page.uncheck("#cells-columns >> text=Nuclear area (µm²)")
    page.check("#cells-columns >> text=Dark clumps")
    assert heading(page, "Nuclear area").count() == 0
    heading(page, "Dark clumps").get_by_role("button").click()
    assert ids(page)[:3] == [0, 4, 8]
    _, name = download(page, "#cells-actions >> text=CSV")
    assert name == "synthetic-sample.csv"


def test_a_row_and_its_cell_in_the_picture_choose_each_other(shown, answer):
    page = shown()
    page.locator(ROWS).nth(2).locator("td").last.click()
    assert page.get_attribute("#cell-2", "aria-selected") == "true"
    assert page.text_content("#cell").startswith("Cell 2:")
    page.focus("svg.cells")
    page.keyboard.press("End")
    last = len(answer["cells"]) - 1
    assert page.locator("#cells-table [aria-current]").get_attribute("data-id") == str(last), "the table turns its page"
    page.keyboard.press("Escape")
    assert page.locator("#cells-table [aria-current]").count() == 0
    page.locator(ROWS).nth(3).get_by_role("button").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_attribute(f"#cell-{ids(page)[4]}", "aria-selected") == "true"


def test_a_cell_under_the_pointer_shows_its_measurements(shown):
    page = shown()
    hover(page, 50)
    panel = page.text_content("#cell")
    assert "Nuclear area 60 µm²" in panel
    assert "unusually" not in panel
    hover(page, 5)
    assert "unusually high 0.900" in page.text_content("#cell")
    hover(page, UNMEASURED)
    assert "Not measured: touches border" in page.text_content("#cell")
    assert "Cell 5" in page.text_content("#unusual li:first-child"), "it is the farthest from the others"
    assert "Eosin, mean 0.900 OD, high" in page.text_content("#unusual li:first-child")


def test_a_bar_of_the_histogram_chooses_its_cells(shown, answer):
    page = shown()
    page.select_option("#histogram-of", "dark_clumps")
    bar = page.locator("#histogram .bin").first
    cluster, clumps, n = re.match(
        r"Cluster (\d+).* Dark clumps (\d): (\d+) cells?$", bar.get_attribute("aria-label")
    ).groups()
    expected = [
        cell["id"] for cell in answer["cells"] if cell["cluster"] == int(cluster) and cell["id"] % 4 == int(clumps)
    ]
    assert len(expected) == int(n)
    bar.click()
    assert ids(page) == expected
    assert page.locator("svg.cells .among").count() == len(expected)
    assert f"{n} cells of {len(answer['cells'])}" in page.text_content("#cells-actions")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.ariaPressed") == "true"
    assert set(ids(page)).isdisjoint(expected)
    page.click("#cells-all")
    assert len(ids(page)) == 100
    assert page.locator("svg.cells .among").count() == 0
    assert page.locator("[aria-pressed=true].bin").count() == 0


def test_very_large_nuclei_are_shown_as_candidates(shown):
    page = shown()
    large = page.text_content("#large")
    assert "Very large nuclei (megakaryocyte candidates)" in large
    assert "2 in this tile, 22.2 per mm² of tissue with a diameter of 13.0 µm or more" in large
    assert "nothing about them is validated" in large
    assert "21.5 µm" in page.text_content("#large li:last-child")
    page.locator("#large button").last.click()
    page.wait_for_selector("#cell:not([hidden])")
    assert page.text_content("#cell").startswith("Cell 9:")

    def is_beside_its_panel():
        cell, panel = (page.locator(part).bounding_box() for part in ("#cell-9", "#cell"))
        return cell["x"] > panel["x"] + panel["width"]

    until(is_beside_its_panel)


@pytest.mark.parametrize("change", [without_measurements, with_nothing_known], ids=["older", "nothing known"])
def test_what_is_not_known_is_never_shown_as_a_number(shown, change):
    page = shown(change)
    hover(page, 5)
    assert not re.search(r"null|undefined|NaN|Infinity|\[object", words(page))
    assert page.is_visible("#cells-table")
    assert not page.is_visible("#histogram")
    if change is without_measurements:
        assert not page.is_visible("#tissue")
        assert not page.is_visible("#large")
    else:
        assert "No cellularity" in page.text_content("#tissue")
        assert "No two stains could be told apart." in page.text_content("#tissue")
        assert "not measured: no stain" in page.text_content("#cell").lower()
        assert "None in this tile with a diameter of 13.0 µm or more" in page.text_content("#large")


def test_names_are_shown_as_they_were_written(shown):
    name = "<img src=x onerror=alert(1)>"

    def named(answer):
        found = with_measurements(answer)
        found["clusters"][0]["name"] = found["measurements"][0]["title"] = name
        found["clusters"][0]["description"]["sentence"] = found["very_large_nuclei"]["notice"] = name
        return found

    page = shown(named)
    page.click("#cells-columns summary")
    for part in ("#proportions", "#gallery", "#histogram", "#large", "#cells", "#filter"):
        assert name in page.text_content(part)
    assert page.locator("img[src=x]").count() == 0


def test_measurements_have_no_serious_barrier(shown):
    page = shown(width=800)
    page.click("#cells-columns summary")
    page.focus("svg.cells")
    assert page.is_visible("#cell")
    assert violations(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out to the right"


def test_several_tiles_are_listed_with_their_cellularity(open_page, answer):
    page = open_page()
    fewer = with_nothing_known(answer)
    fewer["clusters"] = fewer["clusters"][:2]
    answers = iter([with_measurements(answer), fewer])
    page.route("**/analyze?format=json*", lambda route: route.fulfill(json=next(answers)))
    for _ in range(2):
        page.click("#sample")
        page.wait_for_function("() => !document.querySelector('#result').hidden")
    page.wait_for_selector("#summary tbody tr:nth-child(2) button")
    assert [row.locator("td").nth(2).text_content() for row in page.locator("#summary tbody tr").all()] == ["43%", "–"]
    data, _ = download(page, "#summary-csv")
    first, second = csv.DictReader(io.StringIO(data.decode(), newline=""))
    assert first["cellularity"] == "0.432"
    assert [second["cellularity"], second["count_2"], second["proportion_2"]] == ["", "", ""]
    assert second["proportion_1"] == str(fewer["clusters"][1]["proportion"])


def test_each_kind_of_tissue_has_one_colour_on_the_page_and_in_reports(shown):
    page = shown()
    for kind, (red, green, blue) in CLASS_COLORS.items():
        if kind != "background":  # which is hatched
            found = page.eval_on_selector(f"#tissue .swatch.{kind}", "one => getComputedStyle(one).backgroundColor")
            assert found == f"rgb({red}, {green}, {blue})"
