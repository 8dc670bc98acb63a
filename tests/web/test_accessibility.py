import pytest

from tests.web.steps import hover, try_sample, upload

pytestmark = pytest.mark.slow


def violations(page):
    from axe_playwright_python.sync_playwright import Axe

    response = Axe().run(page).response
    assert len(response["passes"]) > 10, "the rules were applied"
    return [
        (rule["id"], rule["impact"], [node["html"][:200] for node in rule["nodes"]])
        for rule in response["violations"]
        if rule["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_no_serious_barrier_on_the_way_through_the_page(open_page, color_scheme, shoot):
    page = open_page(color_scheme=color_scheme)
    page.refused.add(415)
    assert violations(page) == []
    try_sample(page)
    page.click("#label summary")
    hover(page, 70)
    assert violations(page) == []
    upload(page, "letter.png", b"Dear colleague")
    page.wait_for_selector("#problems .problem")
    assert violations(page) == []
    shoot(page, f"{color_scheme}-whole", full_page=True)


def test_everything_that_can_be_done_is_reached_with_tab(page):
    try_sample(page)
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "() => { const { id, dataset, className } = document.activeElement;"
                " return id || dataset.format || className.baseVal; }"
            )
        )
    assert {
        "files",
        "sample",
        "mpp",
        "bundle",
        "zoom-in",
        "zoom-out",
        "zoom-fit",
        "outlines",
        "cells",
        "geojson",
        "csv",
    } <= reached
