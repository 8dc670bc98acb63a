import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import app.service
from app import __version__
from app.pipeline.run import STAGES, analyse
from tests.api.answers import DECLARED, post_tile
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.keys_file import write_keys
from tests.observe.reading import labels_of, parsed, value
from tests.waiting import PATIENCE_S, until

WHITE = encoded(draw_tile([]) * 0 + 255)
CELLS = encoded(draw_tile(grid_of_centres()))


def told(client):
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(response.text)


def test_an_analysis_is_counted_with_its_cells_stages_and_bytes(client, sample):
    answer = post_tile(client, sample).json()
    samples = told(client)
    assert value(samples, "marrowscope_requests_total", route="/analyze", method="POST", status="200") == 1
    assert value(samples, "marrowscope_request_seconds_count", route="/analyze") == 1
    assert value(samples, "marrowscope_cells_total", bundle="marrow") == len(answer["cells"]) > 0
    assert value(samples, "marrowscope_outliers_total", bundle="marrow") == answer["outliers"]["count"]
    assert value(samples, "marrowscope_tiles_total", bundle="marrow", label=answer["label"]["value"]) == 1
    assert len(sample) < value(samples, "marrowscope_upload_bytes_sum") < len(sample) + 1000
    for stage in STAGES:
        seconds = value(samples, "marrowscope_stage_seconds_sum", stage=stage)
        assert seconds * 1000 == pytest.approx(answer["timing_ms"][stage], abs=1e-3)


def test_a_label_that_was_withheld_is_counted_by_each_flag_that_prevented_it(client):
    answers = [post_tile(client, tile).json() for tile in (WHITE, CELLS)]
    samples = told(client)
    assert value(samples, "marrowscope_tiles_total", bundle="marrow", label="indeterminate") == 2
    for answer in answers:
        assert answer["label"]["value"] == "indeterminate"
    codes = [flag["code"] for answer in answers for flag in answer["quality"]["flags"] if flag["prevents_label"]]
    assert codes
    for code in set(codes):
        assert value(samples, "marrowscope_abstentions_total", bundle="marrow", flag=code) == codes.count(code)


def test_paths_methods_and_bundles_that_nobody_knows_add_one_label_each(client, sample):
    for i in range(20):
        client.get(f"/nothing/{i}")
        client.get(f"/bundles/{i}")
        client.request(f"TRY{i}", "/livez")
    post_tile(client, sample, bundle="other")
    samples = told(client)
    assert value(samples, "marrowscope_requests_total", route="unknown", method="GET", status="404") == 20
    assert value(samples, "marrowscope_requests_total", route="/bundles/{name}", method="GET", status="404") == 20
    assert value(samples, "marrowscope_requests_total", route="/livez", method="OTHER", status="405") == 20
    assert labels_of(samples, "marrowscope_requests_total", "route") == {
        "unknown", "/bundles/{name}", "/livez", "/analyze",
    }  # fmt: skip
    assert labels_of(samples, "marrowscope_tiles_total", "bundle") == {"marrow"}


def test_every_route_has_a_label_of_its_own(client):
    routes = {re.sub(r"\{\w+\}", "0", path): path for path in DECLARED}
    for path in [*routes, "/", "/docs", "/openapi.json"]:
        client.request("OPTIONS", path)
    client.get("/web/main.js")
    found = labels_of(told(client), "marrowscope_requests_total", "route")
    # openapi.json does not say which parts of a path may hold slashes.
    declared = {path.replace("{path}", "{path:path}") for path in DECLARED} - {"/reviews/reviewers/{name}"}
    declared.add("/reviews/reviewers/{name:path}")
    assert found == {*declared, "/", "/docs", "/openapi.json", "/web/{file:path}"}


def test_what_is_refused_before_it_is_routed_is_counted_under_its_route(serve, sample):
    client = serve(max_bytes=1000)
    assert post_tile(client, sample).status_code == 413
    assert value(told(client), "marrowscope_requests_total", route="/analyze", method="POST", status="413") == 1


def test_a_crash_is_counted_as_500(client, sample, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(app.service, "analyse", fail)
    assert post_tile(client, sample).status_code == 500
    samples = told(client)
    assert value(samples, "marrowscope_requests_total", route="/analyze", method="POST", status="500") == 1
    assert value(samples, "marrowscope_workers_busy") == 0


def test_waiting_and_working_are_told_while_they_last(serve, monkeypatch):
    opened, begun = threading.Event(), threading.Semaphore(0)

    def slow(*arguments, **options):
        begun.release()
        assert opened.wait(PATIENCE_S)
        return analyse(*arguments, **options)

    monkeypatch.setattr(app.service, "analyse", slow)
    # The limit leaves even a busy machine the time to see all three, two of which wait.
    client = serve(workers=1, queue=2, time_limit_s=4)
    with ThreadPoolExecutor(3) as background:
        try:
            answers = [background.submit(post_tile, client, CELLS) for _ in range(3)]
            assert begun.acquire(timeout=PATIENCE_S)
            samples = until(lambda: value(found := told(client), "marrowscope_queue_length") == 2 and found)
            assert value(samples, "marrowscope_workers_busy") == value(samples, "marrowscope_workers") == 1
            assert value(samples, "marrowscope_queue_limit") == 2
            # Those that wait are called off; who works goes on.
            assert [answer.result().status_code for answer in answers] == [504] * 3
            samples = told(client)
            assert (value(samples, "marrowscope_queue_length"), value(samples, "marrowscope_workers_busy")) == (0, 1)
        finally:
            opened.set()
    until(lambda: value(told(client), "marrowscope_workers_busy") == 0)


def test_what_runs_is_told(client):
    samples = told(client)
    assert value(samples, "marrowscope_ready") == 1
    assert value(samples, "marrowscope_build_info", version=__version__) == 1
    bundle = client.get("/bundles").json()["bundles"][0]
    used = {"bundle": bundle["name"], **{name: bundle[name] for name in ("version", "backend", "device")}}
    assert value(samples, "marrowscope_bundle_info", **used) == 1
    assert value(samples, "marrowscope_processes") == 1


def test_metrics_ask_for_no_key_and_tell_none(serve, tmp_path):
    client = serve(keys_file=write_keys(tmp_path / "keys.json", scanner="the-key"))
    assert client.get("/bundles", headers={"X-API-Key": "the-key"}).status_code == 200
    assert value(told(client), "marrowscope_requests_total", route="/bundles", method="GET", status="200") == 1
    assert not [word for word in ("the-key", "scanner") if word in client.get("/metrics").text]


def test_a_service_that_is_not_ready_says_so(serve, tmp_path):
    assert value(told(serve(bundles_dir=tmp_path)), "marrowscope_ready") == 0
