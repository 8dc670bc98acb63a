import copy
import io
import re

from rich.console import Console

from bench.report import plot_scaling, tables
from training.study.report.speed import speed


def row(milliseconds, **fields):
    stages = {"decode": milliseconds / 10, "total": milliseconds}
    return {
        "cells": 40,
        "median_s": milliseconds / 1000,
        "median_cpu_s": milliseconds / 500,
        "stages_ms": stages,
        "peak_rss_mb": 222.0,
        "runs": 3,
        **fields,
    }


def load(concurrency, **statuses):
    latencies = {"p50_ms": 100.0, "p95_ms": 200.0, "p99_ms": 300.0}
    rates = {"tiles_per_s": 3.25, "cells_per_s": 650.0, "client_cpu_share": 0.01}
    return {"concurrency": concurrency, "requests": sum(statuses.values()), "statuses": statuses, **latencies, **rates}


RESULT = {
    "tile": "drawn.png",
    "date": "2025-01-01",
    "commit": "abc1234",
    "machine": {"processor": "P", "architecture": "A", "cores": 2, "system": "S", "others_cores": 0.125},
    "versions": {"python": "3.11.0"},
    "ours": {**row(250.0), "seconds": [0.2, 0.25, 0.3], "precision": "fast", "idle_rss_mb": 150.0},
    "reference": {**row(2500.0), "seconds": [2.5], "stages_ms": {}, "median_cpu_s": 2.75},
    "speedup": 10.0,
    "cpu_speedup": 5.5,
    "measuring": {
        "answer_cpu_s": 0.4,
        "measure_cpu_s": 0.042,
        "json_cpu_s": 0.033,
        "json_without_cpu_s": 0.019,
        "share": 0.14,
    },
    "presets": [
        {"preset": "default", "nuclei": 454, "median_s": 0.1515, "median_cpu_s": 0.153},
        {"preset": "learned", "nuclei": 548, "median_s": 0.1234, "median_cpu_s": 0.168},
    ],
    "floor": {
        "decode_s": 0.03,
        "pixels_s": 0.002,
        "segmenter_s": 0.0,
        "q_s": 0.018,
        "total_s": 0.05,
        "ratio": 5.0,
        "cells": 40,
        "multiply_adds_per_cell": 17_500_000,
        "segmenter_multiply_adds": 0,
        "pixel_bytes": 24_000_000,
        "memory_bytes_per_s": 12e9,
        "gemm_multiply_adds_per_s": 50e9,
    },
    "q": [{"backend": "onnxruntime", "device": "cpu", "precision": "fast", "cells_per_s": 4321.0}],
    "cold_start": {"seconds": [1.5, 1.25, 2.0], "median_s": 1.5, "rss_mb": 165.0},
    "service": {
        "tiles": 11,
        "loads": [load(1, **{"200": 8}), load(16, **{"200": 90, "503": 7, "504": 3})],
        "soak": {
            "concurrency": 4,
            "samples": 50,
            "first_mb": 400.0,
            "last_mb": 404.0,
            "drift_percent": 1.0,
            "largest_mb": 410.0,
        },
        "peak_rss_mb": 444.0,
    },
    "sizes": [row(10.0, side_px=500, pixels=250_000), row(40.0, side_px=1000, pixels=1_000_000)],
    "cells": [row(5.0, drawn=0, pixels=1_440_000)],
}


def test_section_says_what_was_measured():
    text = speed(RESULT)
    assert "Measured 2025-01-01 at commit abc1234 on 2 cores" in text
    assert "Ours takes 250 ms; the reference takes 10.0 times as long" in text
    assert "is 500 ms and 2,750 ms, which is\n5.5 times as much" in text
    assert "| `default` | 152 | 153 | 454 |\n| `learned` | 123 | 168 | 548 |" in text
    assert "| floor | 50.0 |" in text
    assert "nuclei | 0.0" not in text
    assert "| 16 | 100 | 7 | 3 | 100 | 200 | 300 | 3.25 | 650 |" in text
    assert "1.50 s after its process was started, which is the median of 3\nstarts" in text
    assert "from 400 MB after the warm-up to 404 MB at the end\n(+1.0 %)" in text
    assert "| 1000 × 1000 px, mirrored | 40 | 40 | 40 | 222 |" in text
    assert "| fast | cpu | onnxruntime | 4,321 |" in text
    assert "{" not in text


def test_floor_counts_the_network_that_finds_nuclei():
    result = copy.deepcopy(RESULT)
    result["floor"] |= {"segmenter_s": 0.11, "segmenter_multiply_adds": 11_300_000_000}
    text = speed(result)
    assert "- Nuclei: 11.3 · 10⁹ multiply-adds" in text
    assert "| pixels | 2.0 |\n| nuclei | 110.0 |\n| Q | 18.0 |" in text
    assert "11.3 G multiply-adds at 50 G/s" in printed(result)


def test_older_measurements_without_cpu_time_are_still_reported():
    result = {name: value for name, value in RESULT.items() if name not in {"measuring", "presets", "cpu_speedup"}}
    result["floor"] = {name: value for name, value in RESULT["floor"].items() if not name.startswith("segmenter")}
    assert "10.0 times as long, 2,500 ms.**\nPeak memory" in speed(result)


def test_what_measuring_costs_is_said():
    assert "Together that is 14% of the 400 ms" in speed(RESULT)
    assert "14% of the CPU time" in printed(RESULT)


def test_memory_that_cannot_be_measured_is_a_dash():
    result = copy.deepcopy(RESULT)
    result["service"]["soak"] = result["service"]["peak_rss_mb"] = result["cold_start"]["rss_mb"] = None
    for measured in (result["ours"], result["reference"], *result["sizes"], *result["cells"]):
        measured["peak_rss_mb"] = None
    text = speed(result)
    assert "None" not in text
    assert "takes – MB of memory" in text
    assert "| 1000 × 1000 px, mirrored | 40 | 40 | 40 | – |" in text
    assert "None" not in printed(result)


def test_tables_for_reading_hold_the_same_figures():
    text = printed(RESULT)
    for figure in ("10.0×", "5.5×", "2.750", "5.0×", "3.25", "+1.0 %", "1.50", "4,321"):
        assert figure in text
    assert re.search(r"16\W+100\W+7\W+3\W+100\W+200\W+300", text)


def test_plot_is_drawn_into_a_folder_that_it_makes(tmp_path):
    path = tmp_path / "figures" / "speed.png"
    plot_scaling(RESULT["sizes"], RESULT["cells"], path)
    assert path.read_bytes().startswith(b"\x89PNG")


def printed(result):
    console = Console(width=120, file=io.StringIO())
    for table in tables(result):
        console.print(table)
    return console.file.getvalue()
