"""What a person reads off the page about types of cells, where people have taught the bundle some."""

import copy
import csv
import io

import httpx
import pytest

from app.answer.schemas import AnalysisOut, BundleOut
from app.pipeline.cell_classifier import CellClassifier
from tests.cell_classifiers import taught_values
from tests.waiting import PATIENCE_S
from tests.web.steps import download, hover, try_sample
from tests.web.test_accessibility import violations

pytestmark = pytest.mark.slow

SURE = {"dark small": 0.91, "pale large": 0.83}


@pytest.fixture(scope="module")
def plain(address, shipped_bundle):
    sample = (shipped_bundle / "sample.png").read_bytes()
    return httpx.post(f"{address}/analyze", files={"tile": sample}, timeout=PATIENCE_S).json()


@pytest.fixture(scope="module")
def card(address):
    return httpx.get(f"{address}/bundles/marrow", timeout=PATIENCE_S).json()


@pytest.fixture(scope="module")
def answer(plain):
    """The answer with types: cells are dark, pale and of no type in turn, and cell 8 is an outlier."""
    found = copy.deepcopy(plain)
    for i, cell in enumerate(found["cells"]):
        cell["outlier"] = i == 8
        cell["type"] = ("dark small", "pale large", None)[i % 3]
        cell["type_probability"] = SURE.get(cell["type"])
    counts = [sum(not cell["outlier"] and cell["type"] == name for cell in found["cells"]) for name in (*SURE, None)]
    about = (("dark small", "#d55e00", "erythroid", [0.4, 0.6]), ("pale large", "#0072b2", "myeloid", [0.35, 0.7]))
    found["types"] = [
        {
            "type": name,
            "color": color,
            "lineage": lineage,
            "count": n,
            "proportion": n / sum(counts[:2]),
            "interval": ends,
        }
        for (name, color, lineage, ends), n in zip(about, counts, strict=False)
    ]
    found["outliers"] = {"count": 1, "share": 1 / len(found["cells"])}
    found["cells_without_type"], found["myeloid_erythroid_ratio"] = counts[2], counts[1] / counts[0]
    return found


def with_classifier(card, *, optimistic=False):
    found = copy.deepcopy(card)
    found["manifest"]["cell_classifier"] = taught_values(neighbours=True, measurements=["area"], threshold=0.6)
    classifier = found["manifest"]["cell_classifier"]
    classifier["validation"] |= {"optimistic": True, "groups": 2} if optimistic else {}
    found["types_warning"] = CellClassifier.model_validate(classifier).validation.warning
    return found


@pytest.fixture
def shown(open_page, answer, card):
    """Open the page on the sample tile, as a bundle with a cell classifier answers: `shown(optimistic=…, …)`."""

    def show(*, optimistic=False, **options):
        page = open_page(**options)
        page.route("**/analyze?format=json*", lambda route: route.fulfill(json=answer))
        page.route("**/bundles/marrow", lambda route: route.fulfill(json=with_classifier(card, optimistic=optimistic)))
        page.reload()
        page.wait_for_selector("#card-title")
        try_sample(page)
        return page

    return show


def test_the_answers_of_these_tests_are_such_as_the_service_gives(answer, card):
    AnalysisOut.model_validate(answer)
    classifier = with_classifier(card)["manifest"]["cell_classifier"]
    assert BundleOut.model_fields["manifest"].annotation.model_fields["cell_classifier"]
    assert classifier["validation"]["confusion"]


def test_shares_of_the_types_are_read_off(shown, answer, shoot):
    page = shown()
    for row, one in zip(page.locator("#types tbody tr").all(), answer["types"], strict=True):
        low, high = (f"{100 * end:.1f}" for end in one["interval"])
        expected = f"{one['type']}{one['count']}{100 * one['proportion']:.1f}%{low}–{high}%"
        assert row.text_content() == expected
    text = page.text_content("#types")
    assert f"Myeloid to erythroid cells: {answer['myeloid_erythroid_ratio']:.2f} to 1" in text
    assert f"{answer['cells_without_type']} counted cells have no type" in text
    assert "named cells that were left out" in text
    assert "fewer than three" not in text
    shoot(page, "types", full_page=True)


def test_cells_are_drawn_and_hidden_by_their_types(shown, answer):
    page = shown()
    strokes = [page.get_attribute(f"#cell-{i}", "stroke") for i in range(3)]
    assert strokes == ["#d55e00", "#0072b2", "#ffffff"]
    names = [label.text_content() for label in page.locator("#filter label").all()]
    n = [one["count"] for one in answer["types"]]
    assert names == [
        f"dark small ({n[0]})",
        f"pale large ({n[1]})",
        f"No type ({answer['cells_without_type']})",
        "Outliers (1)",
    ]
    page.uncheck("#filter label:has-text('pale large') input")
    assert not page.is_visible("#cell-1")
    assert page.is_visible("#cell-0")
    assert page.is_visible("#cell-2")


def test_colours_can_be_those_of_the_clusters(shown, answer):
    page = shown()
    page.uncheck("#filter label:has-text('pale large') input")
    page.select_option("#colors", "cluster")
    cell = answer["cells"][1]
    assert page.get_attribute("#cell-1", "stroke") == answer["clusters"][cell["cluster"]]["color"]
    assert page.is_visible("#cell-1")
    assert page.locator("#filter label").count() == len(answer["clusters"]) + 1
    page.uncheck(f"#filter [data-group='{cell['cluster']}']")
    assert not page.is_visible("#cell-1")
    page.select_option("#colors", "type")
    assert page.get_attribute("#cell-1", "stroke") == "#0072b2"


def test_cell_says_its_type_and_how_sure_it_is(shown, answer):
    page = shown()
    hover(page, 1)
    cluster = answer["cells"][1]["cluster"]
    panel = page.text_content("#cell")
    assert panel.startswith("Cell 1: pale large")
    assert f"type probability of 83%, cluster {cluster}" in panel
    hover(page, 2)
    assert page.text_content("#cell").startswith("Cell 2: no type")
    assert page.get_attribute("#cell-0", "aria-label").startswith("Cell 0, dark small 91%, Cluster")


def test_table_lists_and_sorts_the_types(shown, answer):
    page = shown()
    headings = [heading.text_content() for heading in page.locator("#cells-table thead th").all()]
    assert headings[:5] == ["Cell", "Type", "Type probability", "Cluster", "Cluster probability"]
    first = [cell.text_content() for cell in page.locator("#cells-table tbody tr").nth(1).locator("td").all()]
    assert first[:2] == ["pale large", "83%"]
    page.click("#cells-table th[data-key='type'] button")
    page.click("#cells-table th[data-key='type'] button")
    assert page.locator("#cells-table tbody tr td:nth-child(2)").first.text_content() == "pale large"
    assert page.get_attribute("#cells-table th[data-key='type']", "aria-sort") == "descending"


def test_table_of_tiles_has_the_shares_of_the_types(shown, answer):
    page = shown()
    page.click("#sample")
    page.wait_for_selector("#summary tbody tr:nth-child(2) button")
    data, _ = download(page, "#summary-csv")
    for row in csv.DictReader(io.StringIO(data.decode(), newline="")):
        for one in answer["types"]:
            assert int(row[f"type_count_{one['type']}"]) == one["count"]
            assert float(row[f"type_proportion_{one['type']}"]) == pytest.approx(one["proportion"])


def test_card_says_how_right_the_types_are(shown):
    page = shown()
    card = page.text_content("#model-card")
    assert "40 named cells of 4 tiles, named by 2 people" in card
    assert "its features, and from 1 measurement of it, and from the features of the four nearest cells" in card
    assert "below 60% has no type" in card
    assert "Measured on 40 named cells of 4 tiles, in 4 folds" in card
    assert "right for 87.5%" in card
    assert "dark small200.900.900.90" in card
    assert "Optimistic" not in card
    page.click("#model-card details summary")
    assert page.is_visible("#model-card details table")


def test_page_warns_of_figures_that_are_optimistic(shown):
    page = shown(optimistic=True)
    assert "Optimistic: The named cells are of fewer than three tiles" in page.text_content("#model-card")
    assert "the intervals too narrow" in page.text_content("#types")


def test_types_put_up_no_barrier(shown):
    page = shown(optimistic=True)
    hover(page, 1)
    page.click("#model-card details summary")
    assert violations(page) == []


def test_page_of_a_bundle_without_types_does_not_speak_of_them(page, plain):
    try_sample(page)
    assert not page.is_visible("#types")
    assert not page.is_visible("#colors-field")
    assert "Cell types" not in page.text_content("#model-card")
    assert page.locator("#filter label").count() == len(plain["clusters"]) + 1
