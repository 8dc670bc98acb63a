import pytest

from tests.web.steps import hover, try_sample, upload

pytestmark = pytest.mark.slow


def violations(page):
    """Return the serious barriers of a page in dark and in light colours; it has light ones afterwards."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("() => Promise.all(document.getAnimations().map(({ finished }) => finished))")
        response = Axe().run(page).response
        assert len(response["passes"]) > 10, "the rules were applied"
        found += [
            (scheme, rule["id"], rule["impact"], [node["html"][:200] for node in rule["nodes"]])
            for rule in response["violations"]
            if rule["impact"] in {"serious", "critical"}
        ]
    return found


def test_no_serious_barrier_on_the_way_through_the_page(page, shoot):
    page.refused.add(415)
    assert violations(page) == []
    try_sample(page)
    page.click("#label summary")
    hover(page, 70)
    assert violations(page) == []
    upload(page, "letter.png", b"Dear colleague")
    page.wait_for_selector("#problems .problem")
    assert violations(page) == []
    shoot(page, "whole", full_page=True)


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
