"""What a person does on the page, and what they then see."""

SHOWN = "#viewer[data-tile]"


def upload(page, name, data, mime="image/png"):
    page.set_input_files("#files", {"name": name, "mimeType": mime, "buffer": data})


def try_sample(page):
    page.click("#sample")
    page.wait_for_selector(SHOWN)


def hover(page, cell):
    """Put the pointer on a cell's centre."""
    page.locator(f"#cell-{cell}").scroll_into_view_if_needed()
    box = page.locator(f"#cell-{cell}").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def download(page, button):
    """Bytes and name of the file that a click on the button gives."""
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.path().read_bytes(), waiting.value.suggested_filename
