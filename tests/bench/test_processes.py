import httpx
import pytest

from bench.child import clean_environment, run_child
from bench.process import rss_mb
from bench.server import serving
from bench.sweep import combinations
from bench.tiles import SAMPLE


def test_settings_of_the_shell_do_not_reach_what_is_measured(monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_WORKERS", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LANG", "C")
    found = clean_environment()
    assert found["LANG"] == "C"
    assert not {"MARROWSCOPE_WORKERS", "OMP_NUM_THREADS"} & found.keys()


def test_child_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no-such-tile"):
        run_child("bench.measure", "ours", "no-such-tile.png", "1")


def test_ours_is_measured_in_a_process_of_its_own():
    found = run_child("bench.measure", "ours", str(SAMPLE), "2")
    assert found["cells"] > 0
    assert len(found["seconds"]) == 2
    assert 0 < found["stages_ms"]["decode"] < found["stages_ms"]["total"] <= 1000 * max(found["seconds"])
    if rss_mb() is not None:
        assert 0 < found["idle_rss_mb"] <= found["peak_rss_mb"]


@pytest.mark.slow
def test_server_is_ready_when_it_is_given_and_gone_afterwards():
    with serving() as server:
        assert server.ready_s > 0
        assert httpx.get(f"{server.url}/readyz").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/readyz")


def test_server_that_does_not_start_says_why():
    with pytest.raises(RuntimeError, match="MARROWSCOPE_WORKERS"), serving(MARROWSCOPE_WORKERS="none"):
        pass


def test_sweep_begins_with_the_defaults_and_repeats_nothing():
    found = combinations()
    assert found[0] == {}
    assert len({tuple(sorted(environment.items())) for environment in found}) == len(found)
