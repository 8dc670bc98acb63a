import http.client
import io
import json
import logging
import re
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import app.service
from app.observe.logs import JsonFormatter, TextFormatter, log_config
from tests.api.answers import post_tile
from tests.keys_file import write_keys
from tests.served import served
from tests.waiting import PATIENCE_S

FORMATS = {"json": JsonFormatter, "text": TextFormatter}


def record(message, *arguments, **fields):
    made = logging.LogRecord("app.x", logging.INFO, "x.py", 1, message, arguments, None)
    made.fields = fields
    return made


@given(message=st.text(), found=st.text())
def test_a_json_record_is_one_line_whatever_it_holds(message, found):
    line = JsonFormatter().format(record("%s", message, found=found))
    assert len(line.splitlines()) == 1
    assert line.isascii()
    said = json.loads(line)
    assert (said["message"], said["found"]) == (message, found)
    assert (said["level"], said["logger"]) == ("info", "app.x")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["time"])


def test_text_is_for_a_terminal_and_json_for_all_else(monkeypatch):
    def chosen(form):
        return log_config(form, "info")["formatters"]["chosen"]["()"]

    for terminal, unset in ((True, TextFormatter), (False, JsonFormatter)):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        assert chosen(None) is unset
        assert {form: chosen(form) for form in FORMATS} == FORMATS


@pytest.fixture
def lines():
    """What the service logs, as JSON, line by line."""
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("app")
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel("INFO")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_a_request_is_one_line_with_what_was_asked_and_answered(client, sample, lines):
    answer = post_tile(client, sample).json()
    (line,) = (line for line in lines() if line["logger"] == "app.observe.requests")
    assert line["message"] == "POST /analyze 200"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/analyze", 200)
    assert line["request_id"] == answer["request_id"]
    assert line["cells"] == len(answer["cells"])
    assert line["ms"] >= answer["timing_ms"]["total"] - 0.1
    assert line["bytes_in"] > len(sample)


def test_paths_queries_and_file_names_are_not_logged(client, sample, caplog):
    with caplog.at_level(logging.DEBUG):
        post_tile(client, sample, filename="Jane Doe.png", bundle="Jane Doe")
        client.get("/Jane Doe", params={"key": "Jane Doe"}, headers={"X-API-Key": "Jane Doe"})
    said = [FORMATS[form]().format(found) for form in FORMATS for found in caplog.records if found.name[:3] == "app"]
    assert len(said) == 4
    assert not [line for line in said if "Doe" in line]


def test_a_key_is_logged_by_its_name_and_a_wrong_one_not_at_all(serve, tmp_path, lines):
    client = serve(keys_file=write_keys(tmp_path / "keys.json", scanner="the-key"))
    for key in ("the-key", "another-key"):
        client.get("/bundles", headers={"X-API-Key": key})
    assert [(line["status"], line.get("key")) for line in lines() if "route" in line] == [(200, "scanner"), (401, None)]
    assert "-key" not in json.dumps(lines())


def test_a_crash_is_logged_with_its_stack_and_the_id_that_the_client_got(client, sample, monkeypatch, lines):
    def fail(*_, **__):
        raise RuntimeError("what went wrong")

    monkeypatch.setattr(app.service, "analyse", fail)
    request_id = post_tile(client, sample).json()["request_id"]
    told = [line for line in lines() if line.get("request_id") == request_id]
    (crash,) = (line for line in told if line["level"] == "error")
    assert "RuntimeError: what went wrong" in crash["stack"]
    assert "in fail" in crash["stack"]
    assert [line["status"] for line in told if "status" in line] == [500]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_all_that_the_service_says_has_the_form_that_was_chosen(form, sample):
    with served(log_format=form) as (process, address):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
        connection.request("GET", "/livez?secret=1")
        request_id = connection.getresponse().headers["X-Request-ID"]
        connection.close()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        lines = process.stderr.read().splitlines()
    assert [line for line in lines if "GET /livez 422" in line and request_id in line]
    assert [line for line in lines if "uvicorn.error" in line and "Application shutdown complete" in line]
    assert not [line for line in lines if "secret" in line]
    for line in lines:
        if form == "json":
            assert {"time", "level", "logger", "message"} <= set(json.loads(line))
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ [\w.]+: ", line)
