import sys

import pytest

from app.jobs import runner as runner_module
from tests.api.answers import assert_problem
from tests.api.batch_client import ended, post_path, post_tiles
from tests.jobs.orders import stand_in_command
from tests.keys_file import write_keys
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a service on Windows runs no batches")


@pytest.fixture
def slides(tmp_path):
    """The root; what a batch on one of its folders does, the folder's name says."""
    for name in ("finish", "partly", "refused", "stubborn", "wait"):
        (tmp_path / "slides" / name).mkdir(parents=True)
    return tmp_path / "slides"


@pytest.fixture
def serve_batches(serve, slides, tmp_path, monkeypatch):
    monkeypatch.setattr("app.jobs.command.batch_command", lambda _: stand_in_command)
    monkeypatch.setattr(runner_module, "TICK_S", 0.05)
    return lambda **settings: serve(batches_dir=tmp_path / "batches", slides_dir=slides, **settings)


@pytest.fixture
def lab(serve_batches):
    return serve_batches()


def test_tiles_are_analysed_and_their_results_fetched(lab, tmp_path):
    fields = {"mpp": "0.25", "frame": "canvas", "precision": "full", "map": "area"}
    response = post_tiles(lab, "a.png", "A.png", "../b/ä ö.TIF", **fields)
    assert response.status_code == 202
    batch = response.json()
    assert response.headers["Location"] == f"batches/{batch['id']}"
    assert (batch["state"], batch["source"], batch["by"], batch["results"]) == ("queued", "3 uploaded files", None, [])
    assert batch["parameters"] == {
        "bundle": "marrow",
        "mpp": 0.25,
        "frame": "canvas",
        "precision": "full",
        "map": "area",
        "regions": 0,
        "patients": False,
    }
    assert batch["created"].endswith("Z")

    found = ended(lab, batch)
    assert (found["state"], found["detail"], found["cancelling"]) == ("finished", None, False)
    assert found["created"] <= found["started"] <= found["ended"]
    assert found["progress"] == {
        "slides": 2, "slides_done": 2, "slides_failed": 0, "tiles": 10, "tiles_done": 10, "failures": [], "changes": [],
        "waiting_since": None,
    }  # fmt: skip
    names = [file["name"] for file in found["results"]]
    assert names[0] == "index.html"
    assert "slides/a/report.html" in names
    for file in found["results"]:
        answer = lab.get(f"/batches/{file['url']}")
        assert (answer.status_code, len(answer.content)) == (200, file["bytes"])
        assert answer.headers["content-type"].split(";")[0] == file["media_type"]
    kept = sorted(path.name for path in (tmp_path / "batches" / batch["id"] / "tiles").iterdir())
    assert kept == ["A-2.png", "a.png", "ä_ö.TIF"]
    assert (tmp_path / "batches" / batch["id"] / "tiles" / "a.png").read_bytes() == b"pixels"


def test_slides_below_the_root_are_analysed_where_they_lie(lab):
    found = ended(lab, post_path(lab, "partly").json())
    assert (found["state"], found["source"]) == ("finished", "partly")
    assert found["progress"]["failures"] == [{"slide": "b", "reason": "It is damaged."}]


def test_why_a_batch_failed_is_said_without_the_paths_of_the_service(lab):
    found = ended(lab, post_path(lab, "refused").json())
    assert (found["state"], found["detail"]) == ("failed", "there is no slide in refused.")


def test_running_batch_can_be_cancelled(lab, monkeypatch):
    monkeypatch.setattr(runner_module, "CANCEL_S", 1.0)
    batch = post_path(lab, "stubborn").json()
    url = f"/batches/{batch['id']}"
    until(lambda: lab.get(url).json()["progress"]["slides_done"])
    waits = post_path(lab, "finish").json()
    assert lab.get(f"/batches/{waits['id']}").json()["state"] == "queued"
    answer = lab.delete(f"/batches/{waits['id']}")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    answer = lab.delete(url)
    assert (answer.status_code, answer.json()["cancelling"]) == (202, True)
    assert answer.headers["Location"] == batch["id"]
    found = ended(lab, batch)
    assert (found["state"], found["progress"]["slides_done"]) == ("cancelled", 1)
    assert_problem(lab.delete(url), 409, "cancelled")


def test_batches_are_listed_newest_first_page_by_page(lab):
    started = [post_path(lab, "finish").json()["id"] for _ in range(5)]
    pages, after = [], {}
    while True:
        answer = lab.get("/batches", params={"limit": 2, **after}).json()
        pages.append([batch["id"] for batch in answer["batches"]])
        if answer["next"] is None:
            break
        after = {"after": answer["next"]}
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [name for page in pages for name in page] == started[::-1]
    assert_problem(lab.get("/batches", params={"after": "0" * 32}), 404)
    assert_problem(lab.get("/batches", params={"limit": 0}), 422, "limit")


def test_batch_that_is_not_there_is_404(lab):
    for name in ("0" * 32, "x", "%00", "%2e", "A" * 32):
        for url in (f"/batches/{name}", f"/batches/{name}/results/index.html"):
            assert_problem(lab.get(url), 404)
        assert_problem(lab.delete(f"/batches/{name}"), 404)


def test_what_is_not_a_result_is_404(lab):
    batch = ended(lab, post_tiles(lab, "a.png").json())
    own = ["nothing.csv", "manifest.json", "progress.json", ".lock", "slides", ""]
    outside = [
        "%2e%2e/tiles/a.png",
        "..%2ftiles%2fa.png",
        "slides/..%2f..%2f..%2fbatches.sqlite",
        "/etc/passwd",
        "%2fetc%2fpasswd",
    ]
    for name in [*own, *outside]:
        assert_problem(lab.get(f"/batches/{batch['id']}/results/{name}"), 404)


def test_parts_of_a_result_can_be_fetched(lab):
    batch = ended(lab, post_path(lab, "finish").json())
    url = f"/batches/{batch['id']}/results/slides.csv"
    whole = lab.get(url).content
    part = lab.get(url, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, whole[2:5])
    beyond = lab.get(url, headers={"Range": "bytes=1000-"})
    assert_problem(beyond, 416)
    assert beyond.headers["Content-Range"] == f"bytes */{len(whole)}"
    assert_problem(lab.get(url, headers={"Range": "bites=1"}), 400, "Range")


def test_report_may_show_itself_and_nothing_else(lab):
    batch = ended(lab, post_path(lab, "finish").json())
    report = lab.get(f"/batches/{batch['id']}/results/index.html")
    rules = dict(rule.split(" ", 1) for rule in report.headers["Content-Security-Policy"].split("; "))
    assert rules.pop("style-src") == "'unsafe-inline'"
    assert rules.pop("img-src") == "data:"
    assert set(rules.values()) == {"'none'"}
    assert report.headers["Cache-Control"] == "no-store"
    table = lab.get(f"/batches/{batch['id']}/results/slides.csv")
    assert "unsafe" not in table.headers["Content-Security-Policy"]


def test_batch_goes_on_after_the_service_was_started_anew(serve_batches, tmp_path):
    first = serve_batches()
    batch = post_path(first, "wait").json()
    until(lambda: first.get(f"/batches/{batch['id']}").json()["progress"]["slides_done"])
    first.__exit__(None, None, None)
    starts = tmp_path / "batches" / batch["id"] / "starts.txt"
    assert len(starts.read_text().split()) == 1
    second = serve_batches()
    until(lambda: len(starts.read_text().split()) == 2)
    second.delete(f"/batches/{batch['id']}")
    assert ended(second, batch)["state"] == "cancelled"


def test_key_is_asked_for_and_its_name_is_kept(serve_batches, tmp_path):
    client = serve_batches(keys_file=write_keys(tmp_path / "keys.json", scanner="secret"))
    assert_problem(post_path(client, "finish"), 401)
    for url in ("/batches", "/batches/x", "/batches/x/results/index.html"):
        assert_problem(client.get(url), 401)
    assert_problem(client.delete("/batches/x"), 401)
    client.headers["X-API-Key"] = "secret"
    assert post_path(client, "finish").json()["by"] == "scanner"


def test_service_without_batches_says_so(client):
    answers = [client.get("/batches"), client.get("/batches/x"), client.get("/batches/x/results/y")]
    for answer in [*answers, client.delete("/batches/x"), post_tiles(client, "a.png"), client.post("/batches")]:
        assert_problem(answer, 404, "MARROWSCOPE_BATCHES_DIR")


def test_database_that_went_away_is_503_and_leaves_nothing_behind(lab, tmp_path, monkeypatch):
    database = tmp_path / "batches" / "batches.sqlite"
    database.rename(tmp_path / "gone")
    database.mkdir()
    lab.app.state.batches.store.close()  # connections that are open already
    assert_problem(lab.get("/batches"), 503, "database")
    assert_problem(post_tiles(lab, "a.png"), 503, "database")
    assert [path for path in (tmp_path / "batches").iterdir() if path.stem != "batches"] == []
    database.rmdir()
    (tmp_path / "gone").rename(database)
    assert lab.get("/batches").json() == {"batches": [], "paths": True, "next": None}


def test_wrong_method_is_told_the_right_ones(client):
    for path, methods in {"/batches": "GET, POST", "/batches/x": "DELETE, GET", "/batches/x/results/y": "GET"}.items():
        answer = client.put(path)
        assert_problem(answer, 405)
        assert answer.headers["Allow"] == methods
