from pathlib import Path

from bench import __main__ as command


def test_q_is_measured_on_the_cpu_too_where_it_runs_on_a_gpu(monkeypatch):
    def pretend(module, system, **environment):
        assert system == "q"
        return {"rates": [{"device": "cpu" if environment.get("CUDA_VISIBLE_DEVICES") == "" else "cuda"}]}

    monkeypatch.setattr(command, "run_child", pretend)
    assert [rate["device"] for rate in command._q_rates()] == ["cuda", "cpu"]


def test_ours_and_the_reference_are_measured_by_turns(monkeypatch):
    asked = []

    def pretend(module, system, tile, count):
        asked.append((system, int(count)))
        n = len(asked)
        return {
            "seconds": [float(n)] * int(count),
            "cpu_seconds": [2.0 * n] * int(count),
            "cells": 40,
            "stages_ms": {"decode": 10.0 * n} if system == "ours" else {},
            "idle_rss_mb": None,
            "peak_rss_mb": 100.0 - n,
        }

    monkeypatch.setattr(command, "run_child", pretend)
    ours, reference = command._in_turns(Path("tile.png"), 9, lambda _: None)
    assert asked == [("ours", 3), ("reference", 1)] * 3
    assert ours["seconds"] == [1, 1, 1, 3, 3, 3, 5, 5, 5]
    assert (ours["median_s"], ours["median_cpu_s"], ours["stages_ms"]) == (3, 6, {"decode": 30})
    assert (reference["median_s"], reference["median_cpu_s"]) == (4, 8)
    assert (ours["idle_rss_mb"], ours["peak_rss_mb"]) == (None, 99)
    asked.clear()
    command._in_turns(Path("tile.png"), 1, lambda _: None)
    assert asked == [("ours", 1), ("reference", 1)]
