"""No web page but the service's own may ask it anything, in the browser of somebody who may."""

import httpx
import pytest

from tests.api.answers import assert_problem, post_tile
from tests.api.batch_client import post_tiles
from tests.keys_file import write_keys
from tests.served import served

OPEN = ["/", "/docs", "/openapi.json", "/web/main.js", "/livez", "/readyz", "/metrics"]
KEYED = ["/bundles", "/bundles/marrow", "/bundles/marrow/sample", "/prototypes?n=1", "/prototypes/0?n=1", "/batches"]
HERE = "127.0.0.1:8000"


@pytest.fixture
def lab(serve, tmp_path):
    return serve(batches_dir=tmp_path / "batches")


@pytest.fixture
def bundles(serve):
    """Status of GET /bundles with these headers, in a service with these settings."""
    return lambda headers, **settings: serve(**settings).get("/bundles", headers=headers).status_code


@pytest.mark.parametrize("site", ["cross-site", "same-site", "cross-site, none", ""])
def test_other_page_may_ask_for_nothing_but_pages_and_health(lab, site):
    headers = {"Sec-Fetch-Site": site}
    for path in KEYED:
        assert_problem(lab.get(path, headers=headers), 403, "Another web page", f"Sec-Fetch-Site: {site}")
    for path in OPEN:
        assert lab.get(path, headers=headers).status_code == 200


def test_other_page_starts_reads_and_cancels_no_batch(lab, sample):
    lab.headers["Sec-Fetch-Site"] = "cross-site"
    path = f"/batches/{'0' * 32}"
    asked = [
        post_tiles(lab, "a.png"),
        post_tile(lab, sample),
        lab.get(path),
        lab.get(f"{path}/results/a"),
        lab.delete(path),
    ]
    for refused in asked:
        assert_problem(refused, 403, "Another web page")
    assert lab.app.state.batches.store.newest(1, None) == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::1", "", "0.0.0.0"])
def test_name_that_was_made_to_resolve_to_this_machine_is_refused(lab, host):
    headers = {"Host": host, "Sec-Fetch-Site": "same-origin"}
    for path in KEYED:
        assert_problem(lab.get(path, headers=headers), 403, "Host: ", "MARROWSCOPE_ALLOWED_HOSTS")
    for path in OPEN:
        assert lab.get(path, headers=headers).status_code == 200, "probes have any Host"


@pytest.mark.parametrize("host", [HERE, "127.0.0.1", "localhost:8000", "LOCALHOST", "[::1]:8000", "127.0.0.2:1"])
@pytest.mark.parametrize("site", ["same-origin", "none", None])
def test_own_page_and_programs_are_answered(client, host, site):
    headers = {"Host": host, **({"Sec-Fetch-Site": site} if site else {})}
    assert client.get("/bundles", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://127.0.0.1:8000", HERE, 200),
        ("http://localhost:8000", HERE, 403),
        ("http://127.0.0.1:9000", HERE, 403),
        ("https://evil.example", HERE, 403),
        ("null", HERE, 403),
        ("", HERE, 403),
        ("http://[::1", HERE, 403),
        ("http://localhost", "localhost:80", 200),
        ("https://LOCALHOST", "localhost:443", 200),
        ("https://localhost", "localhost:80", 403),
        ("http://localhost:8080", "localhost", 200),
    ],
)
def test_browser_that_does_not_send_the_site_is_judged_by_the_origin(bundles, origin, host, status):
    assert bundles({"Host": host, "Origin": origin}) == status
    assert bundles({"Host": host, "Origin": origin, "Sec-Fetch-Site": "same-origin"}) == 200


def test_names_of_a_proxy_can_be_allowed(bundles):
    allowed = {"allowed_hosts": "Lab.example, marrow.lab.example:443"}
    assert bundles({"Host": "lab.example:8443"}, **allowed) == 200
    assert bundles({"Host": "marrow.lab.example"}, **allowed) == 200
    assert bundles({"Host": "localhost:8000"}, **allowed) == 200
    assert bundles({"Host": "example"}, **allowed) == 403
    assert bundles({"Origin": "https://lab.example"}, **allowed) == 200
    assert bundles({"Origin": "https://other.example"}, **allowed) == 403


def test_every_name_is_right_on_an_address_of_the_network_unless_names_are_set(bundles):
    outside = {"host": "0.0.0.0", "without_keys": True}
    assert bundles({"Host": "lab.example"}, **outside) == 200
    assert bundles({"Host": "lab.example", "Sec-Fetch-Site": "cross-site"}, **outside) == 403
    assert bundles({"Host": "lab.example"}, **outside, allowed_hosts="localhost") == 403
    assert bundles({"Host": "127.0.0.1:8000"}, **outside, allowed_hosts="localhost") == 200


def test_with_keys_every_name_is_right_and_other_pages_are_refused_all_the_same(bundles, tmp_path):
    keys = {"keys_file": write_keys(tmp_path / "keys.json", lab="secret"), "allowed_hosts": "lab.example"}
    key = {"X-API-Key": "secret"}
    assert bundles({**key, "Host": "10.0.0.7:8000"}, **keys) == 200
    assert bundles({**key, "Sec-Fetch-Site": "cross-site"}, **keys) == 403


@pytest.mark.slow
def test_real_server_refuses_and_answers_by_host():
    with served() as (_, address):
        assert httpx.get(f"{address}/bundles").status_code == 200
        assert httpx.get(f"{address}/bundles", headers={"Host": "evil.example"}).status_code == 403
        assert httpx.get(f"{address}/livez", headers={"Host": "10.1.2.3"}).status_code == 200
