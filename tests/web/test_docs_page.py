import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def docs(empty_page, address):
    """/docs, that may not complain about its own policy and asks nothing of another host."""
    page = empty_page
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/docs")
    yield page
    assert complaints == []
    assert all(url.startswith((f"{address}/", "blob:", "data:")) for url in asked)


def run(page, operation, **parameters):
    """Try an operation out: the status that is shown."""
    block = page.locator(f"[id$='{operation}']")
    block.locator(".opblock-summary-control").click()
    block.locator(".try-out__btn").click()
    for name, value in parameters.items():
        block.locator(f"tr[data-param-name='{name}'] input").fill(value)
    block.locator(".execute").click()
    return block.locator(".live-responses-table tbody .response-col_status").first.inner_text().split()[0]


def test_documentation_works_under_its_policy(docs):
    assert run(docs, "livez_livez_get") == "200"
    assert run(docs, "prototypes_prototypes__cluster__get", cluster="0") == "200"
    picture = docs.locator("[id$='prototypes_prototypes__cluster__get'] .live-responses-table img")
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
