import os
from time import process_time, sleep

import pytest

from bench.process import clean_environment, cpu_seconds, peak_rss_mb, rss_mb, run_child

linux = pytest.mark.skipif(rss_mb() is None, reason="memory is read from /proc, which this system does not have")


def test_settings_of_the_shell_do_not_reach_what_is_measured(monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_WORKERS", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LANG", "C")
    found = clean_environment()
    assert found["LANG"] == "C"
    assert not {"MARROWSCOPE_WORKERS", "OMP_NUM_THREADS"} & found.keys()


def test_child_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no-such-tile"):
        run_child("bench.analysis", "ours", "no-such-tile.png", "1")


@linux
def test_memory_that_is_taken_is_seen_and_its_peak_stays():
    before = rss_mb(os.getpid())
    taken = bytearray(os.urandom(1) * 64 * 2**20)
    with_it = rss_mb(os.getpid())
    del taken
    assert with_it - before > 60
    # The kernel adds pages up for each processor before it counts them: the peak may lag by a fraction of a MB.
    assert peak_rss_mb() + 1 > with_it > rss_mb() + 60


@linux
def test_processor_time_grows_with_work_and_not_with_sleep():
    """Python counts the same time by another clock, and more finely."""
    differences = [cpu_seconds() - process_time()]
    sleep(0.3)
    differences.append(cpu_seconds() - process_time())
    end = process_time() + 0.3
    while process_time() < end:
        pass
    differences.append(cpu_seconds() - process_time())
    assert max(differences) - min(differences) < 0.1


def test_process_that_is_gone_has_no_memory():
    assert rss_mb(2**22 + 1) is None
    assert cpu_seconds(2**22 + 1) is None
