"""The review in a browser: tiles are put in, cells are looked at and named, and types are taught."""

import base64
import io
import json
import re

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.review.seeing import tile
from tests.served import served
from tests.waiting import PATIENCE_S, until
from tests.web.steps import download
from tests.web.test_accessibility import violations

pytestmark = pytest.mark.slow

SMALL, LARGE = "dark small", "pale large"
TYPES = [{"name": SMALL, "lineage": "erythroid"}, {"name": LARGE, "lineage": "myeloid"}]
READY = "#tiles:not([hidden])"


@pytest.fixture(scope="module")
def service(encoder_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    (folder / "models").mkdir()
    (folder / "models" / encoder_bundle.name).symlink_to(encoder_bundle, target_is_directory=True)
    settings = {"bundles_dir": folder / "models", "bundle": encoder_bundle.name, "reviews_dir": folder / "reviews"}
    with served(**settings) as (_, found):
        yield found


@pytest.fixture
def lab(service):
    """The service with an empty review, as a client."""
    with httpx.Client(base_url=service, timeout=PATIENCE_S) as client:
        progress = client.get("/reviews").json()
        for one in progress["tiles"]:
            client.delete(f"/reviews/tiles/{one['sha256']}")
        assert client.put("/reviews/types", params={"delete_names": True}, json={"types": []}).is_success
        yield client


@pytest.fixture
def begun(lab):
    """A review with two tiles and two types."""
    for seed in range(2):
        files = {"tile": tile(seed)}
        assert lab.post("/reviews/tiles", params={"name": f"t{seed}"}, files=files).status_code == 201
    assert lab.put("/reviews/types", json={"types": TYPES}).is_success
    return lab


@pytest.fixture
def open_review(open_page, service):
    """Open the page of the review, and wait for its cells if there are some."""

    def open_(**options):
        page = open_page(url=service, path="/review", ready=READY, **options)
        if page.locator("#review").is_visible():
            page.wait_for_selector(".one")
        return page

    return open_


def cells_of(client, **query):
    return client.get("/reviews/next", params={"n": 100, **query}).json()["cells"]


def by_size(cells):
    """The type of each cell by how much of its picture is nucleus."""
    covered = {cell["id"]: (pixels(cell["nucleus"]) < 250).any(axis=2).sum() for cell in cells}
    middle = np.median(list(covered.values()))
    return {cell: LARGE if size > middle else SMALL for cell, size in covered.items()}


def pixels(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def name(client, names, reviewer="reviewer"):
    body = {"reviewer": reviewer, "names": [{"cell": cell, "type": kind} for cell, kind in names.items()]}
    assert client.post("/reviews", json=body).is_success


def chosen(page):
    """The places of the cells that are selected."""
    return [i for i, one in enumerate(page.locator(".one").all()) if one.get_attribute("aria-selected") == "true"]


def counts(client):
    return {one["name"]: one["count"] for one in client.get("/reviews").json()["types"]}


def settled(page):
    """Wait until the wall shows what was asked for last."""
    page.wait_for_selector("#wall[aria-busy=false]", state="attached")


def middle(page, i):
    box = page.locator(".one").nth(i).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def columns(page):
    """How many cells stand beside one another."""
    tops = page.eval_on_selector_all(".one", "all => all.map(({ offsetTop }) => offsetTop)")
    return tops.count(tops[0])


def test_from_an_empty_review_to_a_classifier(open_review, lab, shoot):
    page = open_review()
    assert page.text_content("#tiles-summary") == "Tiles: none yet"
    assert not page.is_visible("#review")
    assert violations(page) == []

    page.set_input_files(
        "#files", [{"name": f"Smith {i}.png", "mimeType": "image/png", "buffer": tile(i)} for i in range(3)]
    )
    for i in range(3):
        page.fill(f"[aria-label='Name of Smith {i}.png']", f"tile {i}")
        page.fill(f"[aria-label='Group of Smith {i}.png']", f"patient {i}")
    assert violations(page) == []
    page.click("#put-in")
    page.wait_for_selector(".one")
    assert {(one["name"], one["group"]) for one in lab.get("/reviews").json()["tiles"]} == {
        (f"tile {i}", f"patient {i}") for i in range(3)
    }
    assert "3 tiles put in" in page.text_content("#status")

    page.click("#first-types")
    assert page.locator("#type-suggestions button").count() == 10
    page.click("#type-suggestions >> text=Lymphocyte")
    for type_name, lineage in ((SMALL, "erythroid"), (LARGE, "myeloid")):
        page.click("#add-type")
        page.locator("#type-rows [type=text]").last.fill(type_name)
        page.locator("#type-rows select").last.select_option(lineage)
    page.click("[aria-label='Remove Lymphocyte']")
    assert violations(page) == []
    page.click("#type-form [type=submit]")
    page.wait_for_selector(".type")
    assert [(one["name"], one["lineage"]) for one in lab.get("/reviews").json()["types"]] == [
        (SMALL, "erythroid"),
        (LARGE, "myeloid"),
    ]

    page.select_option("#kind", "random")
    settled(page)
    right = by_size(cells_of(lab, kind="random"))
    sent = {}
    for key, kind in (("1", SMALL), ("2", LARGE)):
        shown = page.eval_on_selector_all(".one", "all => all.map(({ id }) => id.replace('cell-', ''))")
        sent[kind] = [cell for cell in shown if right.get(cell) == kind][:12]
        assert len(sent[kind]) >= 5
        for cell in sent[kind]:
            page.click(f"#cell-{cell}", modifiers=["Control"])
        page.keyboard.press(key)
    until(lambda: counts(lab) == {kind: len(cells) for kind, cells in sent.items()})
    assert page.locator(".one.named").count() == sum(map(len, sent.values()))

    page.click("#teach-start")
    page.wait_for_selector("#taught:not([hidden])")
    assert page.text_content("#taught h4") == "Bundle lab, version 1"
    rows = [row.text_content() for row in page.locator("#taught-types tbody tr").all()]
    assert [text.startswith(kind) for text, kind in zip(rows, (SMALL, LARGE), strict=True)] == [True, True]
    cells = page.locator("#confusion tbody td").all_text_contents()
    assert len(cells) == 2 * 3
    assert sum(map(int, cells)) == sum(map(len, sent.values()))
    assert violations(page) == []
    shoot(page, "review-taught", full_page=True)
    page.emulate_media(color_scheme="dark")
    assert violations(page) == []
    page.emulate_media(color_scheme="light")

    page.click("#tiles-summary")
    data, file_name = download(page, "#tiles-table a >> nth=0")
    assert file_name.endswith(".geojson")
    assert {one["properties"]["classification"]["name"] for one in json.loads(data)["features"]} <= {SMALL, LARGE}


def test_cells_are_selected_by_mouse(open_review, begun):
    page = open_review()
    wide = columns(page)
    assert wide >= 3
    page.locator(".one").nth(1).click()
    assert chosen(page) == [1]
    page.locator(".one").nth(4).click(modifiers=["Shift"])
    assert chosen(page) == [1, 2, 3, 4]
    page.locator(".one").nth(2).click(modifiers=["Control"])
    assert chosen(page) == [1, 3, 4]
    page.locator(".one").nth(0).click()
    assert chosen(page) == [0]

    page.locator(".one").nth(wide + 1).scroll_into_view_if_needed()
    page.mouse.move(*middle(page, 0))
    page.mouse.down()
    page.mouse.move(*middle(page, 1), steps=4)
    page.mouse.move(*middle(page, wide + 1), steps=4)
    assert page.is_visible("#band")
    page.mouse.up()
    assert not page.is_visible("#band")
    assert chosen(page) == [0, 1, wide, wide + 1]
    assert page.text_content("#n-selected") == "4 cells selected"
    for button, expected in (("#select-none", 0), ("#select-all", 40), ("#invert", 0)):
        page.click(button)
        assert len(chosen(page)) == expected


def test_cells_are_selected_and_named_by_keyboard(open_review, begun):
    page = open_review()
    wide = columns(page)
    page.focus("#wall")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert chosen(page) == [0, 1, 2]
    page.keyboard.press("2")
    assert chosen(page) == []
    assert "3 cells named pale large" in page.text_content("#status")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    at = page.get_attribute("#wall", "aria-activedescendant")
    assert page.locator(".one").nth(wide).get_attribute("id") == at
    # None is selected: the cell in focus is named, and the next one comes into focus.
    page.keyboard.press("1")
    assert page.get_attribute(f"#{at}", "aria-label").startswith("dark small, cluster ")
    assert page.locator(".one").nth(wide + 1).get_attribute("id") == page.get_attribute(
        "#wall", "aria-activedescendant"
    )
    until(lambda: counts(begun) == {SMALL: 1, LARGE: 3})
    page.keyboard.press("9")
    assert page.text_content("#status") == "There is no type 9."
    page.keyboard.press("Control+a")
    assert len(chosen(page)) == 40
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    assert len(chosen(page)) == 40
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    page.wait_for_function("() => document.querySelectorAll('.one').length > 40")
    before = page.locator(".one").first.get_attribute("id")
    shown = set(page.eval_on_selector_all(".one", "all => all.map(({ id }) => id)"))
    assert len(shown) == page.locator(".one").count(), "no cell comes twice"
    if not page.is_disabled("#next"):
        page.keyboard.press("n")
        page.wait_for_function("before => document.querySelector('.one').id !== before", arg=before)
        assert not shown & set(page.eval_on_selector_all(".one", "all => all.map(({ id }) => id)"))


def test_names_are_taken_back_and_undone(open_review, begun):
    page = open_review()
    page.focus("#wall")
    for keys in (("Space", "1"), ("End", "Space", "2"), ("Home", "2"), ("Home", "0")):
        for key in keys:
            page.keyboard.press(key)
    until(lambda: counts(begun) == {SMALL: 0, LARGE: 1})
    expected = [{SMALL: 0, LARGE: 2}, {SMALL: 1, LARGE: 1}, {SMALL: 1, LARGE: 0}, {SMALL: 0, LARGE: 0}]
    for found in expected:
        page.keyboard.press("Control+z")
        until(lambda found=found: counts(begun) == found)
    assert page.is_disabled("#undo")
    assert page.locator(".one.named").count() == 0


def test_name_that_is_refused_is_not_shown_as_given(open_review, begun):
    page = open_review()
    page.refused |= {422, 415}
    begun.put("/reviews/types", json={"types": TYPES[:1]})
    page.locator(".one").first.click()
    page.keyboard.press("2")
    page.wait_for_selector("#problems .problem")
    assert "There is no cell type 'pale large'" in page.text_content("#problems")
    assert page.locator(".one.named").count() == 0
    assert page.is_disabled("#undo")
    assert violations(page) == []
    page.click("#tiles-summary")
    page.set_input_files("#files", {"name": "letter.png", "mimeType": "image/png", "buffer": b"Dear colleague"})
    page.click("#put-in")
    page.wait_for_selector("#problems >> text=letter.png")
    page.click("#teach-start")
    page.wait_for_selector("#teach-problem .problem")
    assert "Nothing was taught" in page.text_content("#teach-problem")


def test_lasso_takes_cells_out_of_the_plot(open_review, begun):
    page = open_review()
    plotted = begun.get("/reviews/plot").json()["cells"]
    box = page.locator("#plot").bounding_box()
    right = box["x"] + box["width"] / 2
    corners = [
        (right, 2),
        (box["x"] + box["width"] - 2, 2),
        (box["x"] + box["width"] - 2, box["height"] - 2),
        (right, box["height"] - 2),
    ]
    page.mouse.move(right, box["y"] + 2)
    page.mouse.down()
    for x, y in corners:
        page.mouse.move(x, box["y"] + y, steps=3)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('#wall-words').textContent.includes('of the plot')")
    xs = [cell["x"] for cell in plotted]
    centre = (min(xs) + max(xs)) / 2
    width = (max(xs) - min(xs)) * 0.02
    sure, near = ({f"cell-{cell['id']}" for cell in plotted if cell["x"] > centre + sign * width} for sign in (1, -1))
    shown = set(page.eval_on_selector_all(".one", "all => all.map(({ id }) => id)"))
    assert sure <= shown <= near
    # And by keyboard: a ring in the middle, as large as it gets.
    page.focus("#plot")
    for key in ["+"] * 12 + ["Enter"]:
        page.keyboard.press(key)
    page.wait_for_function("before => document.querySelectorAll('.one').length !== before", arg=len(shown))
    page.wait_for_function("() => document.activeElement.id === 'wall'")


def test_named_cells_are_listed_by_type_and_renamed(open_review, begun):
    one, two, three = [cell["id"] for cell in cells_of(begun)][:3]
    name(begun, {one: SMALL, two: LARGE, three: LARGE})
    page = open_review()
    page.select_option("#of-type", LARGE)
    page.select_option("#kind", "named")
    page.wait_for_function("() => document.querySelectorAll('.one').length === 2")
    page.focus("#wall")
    page.keyboard.press("a")
    page.keyboard.press("1")
    until(lambda: counts(begun) == {SMALL: 3, LARGE: 0})
    page.click("#edit-types")
    page.locator("#type-rows [type=text]").first.fill("round")
    page.click("#type-form [type=submit]")
    page.wait_for_selector(".type >> text=round")
    assert counts(begun) == {"round": 3, LARGE: 0}
    assert page.locator(".one .name >> text=round").count() == 2
    page.keyboard.press("Control+z")
    until(lambda: counts(begun) == {"round": 1, LARGE: 2})


def test_two_reviewers_and_where_they_differ(open_review, begun):
    cells = [cell["id"] for cell in cells_of(begun)][:8]
    ann = {cell: SMALL if i < 4 else LARGE for i, cell in enumerate(cells)}
    name(begun, ann, "Ann")
    name(begun, {**ann, cells[0]: LARGE, cells[7]: SMALL}, "Bo")
    page = open_review()
    assert "Ann and Bo agree on 6 of 8 cells that both named (75%; κ = 0.50, moderate)." in page.text_content("#people")
    page.fill("#person", "Ann")
    page.press("#person", "Tab")
    page.click("#show-differences")
    page.wait_for_function("() => document.querySelectorAll('.one').length === 2")
    assert "Bo: pale large" in page.text_content(f"#cell-{cells[0]}")
    assert violations(page) == []
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("[aria-label='Delete the names by Bo']")
    until(lambda: [one["name"] for one in begun.get("/reviews").json()["reviewers"]] == ["Ann"])


def test_fingers_select_and_name(open_review, begun):
    page = open_review(width=820, height=1180, touch=True)
    for i in (0, 2):
        page.locator(".one").nth(i).tap()
    assert chosen(page) == [0, 2]
    page.locator(".one").nth(2).tap()
    assert chosen(page) == [0]
    page.locator(".type").first.tap()
    until(lambda: counts(begun) == {SMALL: 1, LARGE: 0})
    page.evaluate("() => document.querySelector('#drag-mode').scrollIntoView({ block: 'start' })")
    page.locator("#drag-mode").evaluate("button => button.click()")
    touch = page.context.new_cdp_session(page)
    page.locator(".one").first.scroll_into_view_if_needed()
    points = [middle(page, 0), middle(page, 1), middle(page, columns(page) + 1)]
    kinds = ["touchStart", "touchMove", "touchMove"]
    for kind, (x, y) in zip(kinds, points, strict=True):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert chosen(page) == [0, 1, columns(page), columns(page) + 1]


@pytest.mark.parametrize("size", [(360, 800), (820, 1180), (1280, 800)], ids=["phone", "tablet", "laptop"])
def test_nothing_sticks_out_and_nobody_is_shut_out(open_review, begun, shoot, size):
    cells = [cell["id"] for cell in cells_of(begun)][:6]
    name(begun, dict.fromkeys(cells, SMALL))
    page = open_review(width=size[0], height=size[1])
    page.evaluate("() => document.querySelectorAll('details').forEach((part) => (part.open = true))")
    page.locator(".one").nth(1).click()
    assert violations(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") == size[0]
    boxes = [canvas.bounding_box() for canvas in page.locator(".one canvas").all()[:8]]
    assert min(min(box["width"], box["height"]) for box in boxes) >= 96
    shoot(page, f"review-{size[0]}", full_page=True)
    page.click("#edit-types")
    assert violations(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") == size[0]


def test_everything_is_reached_with_tab(open_review, begun):
    page = open_review()
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id || document.activeElement.className"))
    assert {
        "person",
        "type",
        "edit-types",
        "plot",
        "kind",
        "cluster",
        "of-type",
        "wall",
        "next",
        "more",
        "teach-start",
    } <= reached


def test_main_page_links_to_the_review_only_if_there_is_one(open_page, service, address):
    page = open_page(url=service)
    page.click("#to-review")
    page.wait_for_selector(READY)
    assert not open_page().is_visible("#to-review")
    page = open_page(path="/review", ready="#off:not([hidden])")
    assert "without MARROWSCOPE_REVIEWS_DIR" in page.text_content("#off")
    assert violations(page) == []


def posts(page):
    """The names of each request so far that names cells, as (cell, type)."""
    found = []
    page.on(
        "request",
        lambda request: (
            found.append([(one["cell"], one["type"]) for one in request.post_data_json["names"]])
            if request.method == "POST" and re.search(r"/reviews\?", request.url)
            else None
        ),
    )
    return found


def test_fast_typing_is_gathered_into_few_requests_in_its_order(open_review, begun):
    page = open_review()
    sent = posts(page)
    page.focus("#wall")
    page.keyboard.press("Home")
    shown = page.eval_on_selector_all(".one", "all => all.map(({ id }) => id.replace('cell-', ''))")[:30]
    # Nobody types faster: all keys come before the first answer.
    named = page.evaluate(
        """keys => {
          const press = (key, ctrlKey = false) => {
            const event = new KeyboardEvent("keydown", { key, ctrlKey, bubbles: true, cancelable: true });
            document.activeElement.dispatchEvent(event);
          };
          const nNamed = () => document.querySelectorAll(".one.named").length;
          for (const key of keys) press(key);
          const before = nNamed();
          press("z", true);
          press("z", true);
          return [before, nNamed(), document.querySelector("#saving").textContent];
        }""",
        ["1", "2"] * 15,
    )
    assert named == [30, 28, "Saving 30 names …"], "the page does not wait for the service"
    page.wait_for_function("() => document.querySelector('#saving').textContent === ''")
    assert page.locator(".one.unsaved").count() == 0
    assert counts(begun) == {SMALL: 14, LARGE: 14}
    assert [len(request) for request in sent] == [1, 29], "what came during a request is in the next one"
    assert [cell for request in sent for cell, _ in request] == shown, "in the order in which they were given"
    assert [kind for request in sent for _, kind in request] == [SMALL, LARGE] * 14 + [None, None]


def test_names_that_cannot_be_sent_are_kept_shown_and_sent_again(open_review, begun, shoot):
    page = open_review()
    page.refused |= {"ERR_FAILED"}
    sent = posts(page)
    is_off = [True]
    page.route(re.compile(r"/reviews\?"), lambda route: route.abort() if is_off[0] else route.continue_())
    page.focus("#wall")
    page.keyboard.press("1")
    page.wait_for_selector("#unsaved:not([hidden])")
    for key in ("2", "2"):
        page.keyboard.press(key)
    assert "The service cannot be reached" in page.text_content("#unsaved-words")
    assert page.text_content("#saving") == "3 names not saved yet"
    assert page.locator(".one.unsaved").count() == 3
    assert "not saved yet" in page.locator(".one").nth(1).get_attribute("aria-label")
    assert violations(page) == []
    shoot(page, "review-unsaved")
    # Nothing is taught without the names that people think are given, and nobody leaves by mistake.
    page.click("#teach-start")
    page.wait_for_selector("#teach-problem .problem")
    assert "3 names could not be saved yet" in page.text_content("#teach-problem")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"]
    # Names that wait are undone like others, and other cells do not hide them.
    page.keyboard.press("Control+z")
    page.select_option("#kind", "random")
    settled(page)
    assert counts(begun) == {SMALL: 0, LARGE: 0}
    is_off[0] = False
    page.click("#send-again")
    page.wait_for_selector("#unsaved", state="hidden")
    page.wait_for_function("() => document.querySelector('#saving').textContent === ''")
    assert counts(begun) == {SMALL: 1, LARGE: 1}
    assert page.locator(".one.unsaved").count() == 0
    assert len(sent[-1]) == 2 or sent[-1][-1][1] is None


def test_names_are_sent_again_by_themselves(open_review, begun):
    page = open_review()
    page.refused |= {503}
    answers = iter([503, 503])

    def busy(route):
        status = next(answers, None)
        full = {"title": "Busy", "detail": "The disk of the review is full; nothing was kept of this request."}
        route.fulfill(status=status, headers={"Retry-After": "5"}, json=full) if status else route.continue_()

    page.route(re.compile(r"/reviews\?"), busy)
    page.locator(".one").first.click()
    page.keyboard.press("1")
    page.wait_for_selector("#unsaved-words >> text=disk of the review is full")
    page.wait_for_selector("#unsaved", state="hidden")
    page.wait_for_function("() => document.querySelector('#saving').textContent === ''")
    assert counts(begun) == {SMALL: 1, LARGE: 0}


def test_refused_names_take_no_others_with_them(open_review, begun):
    page = open_review()
    page.refused |= {422}
    begun.put("/reviews/types", json={"types": TYPES[:1]})
    waiting = []
    page.route(re.compile(r"/reviews\?"), lambda route: waiting.append(route) if not waiting else route.continue_())
    page.focus("#wall")
    for key in "1212102":
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert page.locator(".one.named").count() == 6
    waiting[0].continue_()
    page.wait_for_selector("#problems .problem")
    page.wait_for_function("() => document.querySelector('#saving').textContent === ''")
    assert "3 names not kept" in page.text_content("#problems")
    assert "There is no cell type 'pale large'" in page.text_content("#problems")
    assert counts(begun) == {SMALL: 3}
    named = [i for i, one in enumerate(page.locator(".one").all()) if "named" in one.get_attribute("class")]
    assert named == [0, 2, 4]
    for left in ([0, 2], [0], []):
        page.keyboard.press("Control+z")
        page.wait_for_function("() => document.querySelector('#saving').textContent === ''")
        assert counts(begun) == {SMALL: len(left)}
    assert page.is_disabled("#undo")


def test_groups_are_called_what_the_person_says(open_review, lab):
    for seed, group in enumerate(["one", "one", "two"]):
        lab.post("/reviews/tiles", params={"group": group}, files={"tile": tile(seed)})
    lab.put("/reviews/types", json={"types": TYPES})
    name(lab, by_size(cells_of(lab, kind="random")))
    page = open_review()
    assert page.locator("#groups option").all_text_contents() == ["groups, not said of what", "slides", "patients"]
    page.fill("#teach-name", "grouped")
    page.click("#teach-start")
    page.wait_for_selector("#taught:not([hidden])")
    # What the service says is what the page shows.
    assert "The named cells are of fewer than three groups, so the errors" in page.text_content("#taught .problem")
    page.select_option("#groups", "patients")
    page.click("#teach-start")
    page.wait_for_selector("#taught >> text=version 2")
    assert "fewer than three patients" in page.text_content("#taught .problem")


def test_the_page_of_tiles_opens_with_the_bundle_that_was_taught(open_review, open_page, lab, service, encoder_bundle):
    for seed in range(3):
        lab.post("/reviews/tiles", params={"group": f"g{seed}"}, files={"tile": tile(seed)})
    lab.put("/reviews/types", json={"types": TYPES})
    name(lab, by_size(cells_of(lab, kind="random")))
    page = open_review()
    assert page.locator("#groups option").first.text_content() == "tiles"
    page.fill("#teach-name", "mine")
    page.click("#teach-start")
    page.click("#taught a")
    page.wait_for_selector("#card-title")
    assert page.url.endswith("?bundle=mine")
    assert page.input_value("#bundle") == "mine"
    assert page.text_content("#card-title") == "Model card: mine, version 1"
    assert "of 3 tiles, in" in page.text_content("#model-card")
    page.select_option("#bundle", encoder_bundle.name)
    page.wait_for_selector(f"#card-title >> text={encoder_bundle.name}")
    page.reload()
    page.wait_for_selector("#card-title")
    assert page.input_value("#bundle") == encoder_bundle.name


def test_unknown_bundle_is_refused_in_words(open_page, service, encoder_bundle):
    page = open_page(url=service, path="/?bundle=nobodys", ready="#problems .problem")
    assert "the bundle “nobodys”, which this service does not have" in page.text_content("#problems")
    assert page.input_value("#bundle") == ""
    assert not page.is_visible("#model-card")
    page.click("#sample")
    assert not page.is_visible("#queue"), "nothing is analysed with another bundle"
    assert violations(page) == []
    page.select_option("#bundle", encoder_bundle.name)
    page.wait_for_selector("#card-title")
    assert page.locator("#bundle option[value='']").count() == 0
    page.click("#sample")
    page.wait_for_selector("#viewer[data-tile]")


def objects(*points):
    """GeoJSON of QuPath with a classified point for each (x, y, class)."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [x, y]},
            "properties": {"objectType": "annotation", "classification": {"name": kind, "color": [1, 2, 3]}},
        }
        for x, y, kind in points
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def chosen_file(name_of, data, mime="application/geo+json"):
    return {"name": name_of, "mimeType": mime, "buffer": data}


def test_names_come_from_qupath(open_review, lab, shoot):
    page = open_review()
    page.refused |= {422}
    page.fill("#person", "A. Smith")
    page.press("#person", "Tab")
    page.click("#open-import")
    assert "A. Smith" in page.text_content("#import")
    assert violations(page) == []
    page.set_input_files(
        "#import-geojson", chosen_file("t0.geojson", objects((22, 25, "Blast"), (3, 318, "Blast"), (304, 26, "Pale")))
    )
    page.set_input_files("#import-image", chosen_file("t0.png", tile(0), "image/png"))
    page.fill("#import-group", "patient 1")
    page.click("#import-start")
    page.wait_for_selector("#import-result li")
    said = page.text_content("#import-result")
    assert "2 cells named by the file, 2 of them new or changed." in said
    assert "1 named object of the file was not matched to a nucleus." in said
    assert "'Blast' at (3, 318): on no nucleus" in said
    assert violations(page) == []
    shoot(page, "review-imported")
    assert counts(lab) == {"Blast": 1, "Pale": 1}
    progress = lab.get("/reviews").json()
    assert ([one["name"] for one in progress["reviewers"]], progress["tiles"][0]["group"]) == (
        ["A. Smith"],
        "patient 1",
    )
    page.click("#import-close")
    page.wait_for_selector(".one")

    # The tile is in the review now, and our own file says which one it is.
    data = lab.get("/reviews/export", params={"tile": progress["tiles"][0]["sha256"]}).content
    page.click("#tiles-summary") if not page.is_visible("#open-import") else None
    page.click("#open-import")
    page.set_input_files("#import-geojson", chosen_file("any.geojson", data))
    page.wait_for_selector("#import-image-fields", state="hidden")
    page.click("#import-start")
    page.wait_for_selector("#import-result >> text=2 cells named by the file, 0 of them new or changed.")
    assert "Every named object of the file was matched" in page.text_content("#import-result")

    wrong = [
        (b"Dear colleague", "not GeoJSON"),
        (objects((4000, 25, "Blast")), "outside the tile"),
        (objects((3, 318, "Blast")), "No object of the file names a cell of this tile"),
    ]
    for data, words in wrong:
        page.set_input_files("#import-geojson", chosen_file("wrong.geojson", data))
        page.click("#import-start")
        page.wait_for_selector(f"#import-result .problem >> text={words}")
    page.uncheck("#import-add-types")
    page.set_input_files("#import-geojson", chosen_file("odd.geojson", objects((22, 25, "Odd"))))
    page.click("#import-start")
    page.wait_for_selector("#import-result .problem >> text=There is no cell type 'Odd'")
    assert counts(lab) == {"Blast": 1, "Pale": 1}


def test_geojson_is_dropped_with_its_tile(open_review, begun):
    page = open_review()
    page.evaluate(
        """([geojson, image]) => {
          const files = new DataTransfer();
          files.items.add(new File([geojson], "t9.geojson"));
          const bytes = Uint8Array.from(atob(image), (c) => c.charCodeAt(0));
          files.items.add(new File([bytes], "t9.png", { type: "image/png" }));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
        }""",
        [objects((22, 25, SMALL)).decode(), base64.b64encode(tile(9)).decode()],
    )
    page.wait_for_selector("#import[open]")
    assert page.text_content("#import-geojson-dropped") == "t9.geojson"
    assert page.text_content("#import-image-dropped") == "t9.png"
    page.click("#import-start")
    page.wait_for_selector("#import-result >> text=1 cell named by the file")
    assert counts(begun) == {SMALL: 1, LARGE: 0}
    assert len(begun.get("/reviews").json()["tiles"]) == 3
