from time import process_time

import pytest

from bench import machine


def set_clocks(monkeypatch, *, now, busy, own):
    monkeypatch.setattr(machine, "perf_counter", lambda: now)
    monkeypatch.setattr(machine, "_busy_seconds", lambda: busy)
    monkeypatch.setattr(machine, "_own_seconds", lambda: own)


def test_own_work_is_no_background_load(monkeypatch):
    set_clocks(monkeypatch, now=100.0, busy=5000.0, own=7.0)
    watch = machine.BackgroundLoad()
    # In 10 s the cores were busy for 12 s, 9 of them with this process and its children.
    set_clocks(monkeypatch, now=110.0, busy=5012.0, own=16.0)
    assert watch.cores() == pytest.approx(0.3)


def test_coarse_clocks_do_not_make_the_load_negative(monkeypatch):
    set_clocks(monkeypatch, now=0.0, busy=10.0, own=1.0)
    watch = machine.BackgroundLoad()
    set_clocks(monkeypatch, now=1.0, busy=10.99, own=2.0)
    assert watch.cores() == 0


def test_background_load_is_unknown_where_there_is_no_proc_stat(monkeypatch):
    set_clocks(monkeypatch, now=0.0, busy=None, own=1.0)
    assert machine.BackgroundLoad().cores() is None


def test_work_is_seen_by_both_clocks():
    if (busy := machine._busy_seconds()) is None:
        pytest.skip("There is no /proc/stat on this system.")
    own, end = machine._own_seconds(), process_time() + 0.5
    while process_time() < end:
        pass
    assert machine._own_seconds() - own > 0.4
    assert machine._busy_seconds() - busy > 0.4
