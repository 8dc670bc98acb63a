import re
from html.parser import HTMLParser

import pytest

from app.api.pages import WEB
from tests.keys_file import write_keys


def policy(response):
    return dict(rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; "))


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def elements():
    return Elements((WEB / "index.html").read_text(encoding="utf-8")).found


def test_bare_address_is_the_page(client):
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "For Research Use Only. Not for use in diagnostic procedures." in response.text
    assert client.head("/").status_code == 200


def test_policy_lets_nothing_in_from_outside(client):
    for path in ("/", "/web/main.js", "/web/vendor/openseadragon/openseadragon.min.js"):
        rules = policy(client.get(path))
        assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == "'self'"
        assert not any("unsafe" in rule or "http" in rule or "*" in rule for rule in rules.values())


def test_page_has_nothing_inline_and_nothing_from_outside(elements):
    for tag, attributes in elements:
        assert not (tag == "script" and "src" not in attributes)
        assert tag != "style"
        assert not any(name == "style" or name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert not re.match(r"[a-z]+:|//|/", attributes.get(name, "")), "relative, so that a proxy may add a path"


def test_every_file_that_the_page_names_is_there(client, elements):
    named = {attributes[name] for _, attributes in elements for name in ("src", "href") if name in attributes}
    for path in named - {"docs"}:
        if not path.startswith("#"):
            assert client.get(f"/{path}").status_code == 200, path
    for script in WEB.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', script.read_text(encoding="utf-8")):
            assert (WEB / name).is_file(), f"{script.name} imports {name}"


def test_file_that_is_not_there_is_a_problem(client):
    assert client.get("/web/nothing.js").status_code == 404
    assert client.get("/web/../settings.py").status_code == 404
    assert client.get("/web/%2e%2e/settings.py").status_code == 404


def test_file_that_did_not_change_is_not_sent_again(client):
    first = client.get("/web/main.js")
    again = client.get("/web/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert first.headers["cache-control"] == "no-cache"


def test_page_needs_no_key_but_what_it_asks_for_does(serve, tmp_path):
    with_key = serve(keys_file=write_keys(tmp_path / "keys.json", lab="secret"))
    assert with_key.get("/").status_code == 200
    assert with_key.get("/web/main.js").status_code == 200
    assert with_key.get("/bundles/marrow/sample").status_code == 401


def test_vendored_viewer_comes_with_its_licence():
    vendor = WEB / "vendor" / "openseadragon"
    assert "openseadragon" in (vendor / "openseadragon.min.js").read_text(encoding="utf-8")[:200]
    assert "Redistributions of source code must retain" in (vendor / "LICENSE.txt").read_text(encoding="utf-8")


def test_sample_is_the_bundles(client, sample):
    response = client.get("/bundles/marrow/sample")
    assert response.content == sample
    assert response.headers["content-type"] == "image/png"
    assert client.get("/bundles/nothing/sample").status_code == 404
