"""What a person does on the page, and what they then see."""

from tests.waiting import until

SHOWN = "#viewer[data-tile]"


def upload(page, name, data, mime="image/png"):
    page.set_input_files("#files", {"name": name, "mimeType": mime, "buffer": data})


def try_sample(page):
    page.click("#sample")
    page.wait_for_selector(SHOWN)


def hover(page, cell):
    """Put the pointer on a cell's centre, wherever the tile has come to rest, until the page shows the cell."""

    def is_shown():
        page.locator(f"#cell-{cell}").scroll_into_view_if_needed()
        box = page.locator(f"#cell-{cell}").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        return page.text_content("#cell").strip().startswith(f"Cell {cell}:")

    until(is_shown)


def download(page, button):
    """Bytes and name of the file that a click on the button gives."""
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.path().read_bytes(), waiting.value.suggested_filename
