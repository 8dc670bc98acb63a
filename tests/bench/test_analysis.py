from dataclasses import replace

import numpy as np
import pytest

from app.pipeline.bundle.load import load_bundle
from app.pipeline.presets import LEARNED
from bench import BUNDLE, analysis
from bench.process import rss_mb, run_child
from bench.tiles import SAMPLE


def test_tile_is_measured_in_a_process_of_its_own():
    found = run_child("bench.analysis", "ours", str(SAMPLE), "2")
    assert found["cells"] > 0
    assert len(found["seconds"]) == 2
    assert len(found["cpu_seconds"]) == 2
    assert 0 < min(found["cpu_seconds"]) <= found["median_cpu_s"] <= max(found["cpu_seconds"])
    assert 0 < found["stages_ms"]["decode"] < found["stages_ms"]["total"] <= 1000 * max(found["seconds"])
    if rss_mb() is not None:
        assert 0 < found["idle_rss_mb"] <= found["peak_rss_mb"]


def test_q_alone_is_measured_at_each_precision():
    rates = run_child("bench.analysis", "q")["rates"]
    assert {rate["precision"] for rate in rates} == {"full", "fast"}
    assert all(rate["cells_per_s"] > 0 for rate in rates)


def test_presets_are_measured_without_the_other_stages():
    rows = run_child("bench.analysis", "presets", str(SAMPLE), "1")["presets"]
    assert rows[0]["preset"] == "default"
    assert all(row["nuclei"] > 0 and row["median_s"] > 0 and row["median_cpu_s"] > 0 for row in rows)


def test_what_measuring_costs_is_a_part_of_the_answer():
    found = run_child("bench.analysis", "measuring", str(SAMPLE), "1")
    assert found["answer_cpu_s"] > 0
    assert found["measure_cpu_s"] > 0
    added = found["measure_cpu_s"] + found["json_cpu_s"] - found["json_without_cpu_s"]
    assert found["share"] == pytest.approx(added / found["answer_cpu_s"])


def test_learned_preset_is_measured_where_the_bundle_has_a_network(monkeypatch):
    bundle = load_bundle(BUNDLE)
    learned = bundle.manifest.model_copy(update={"segmentation": LEARNED})

    def dark(pixels):
        return np.repeat(np.float32(pixels[None, ..., 0] < 128), 2, axis=0)

    monkeypatch.setattr(analysis, "load_bundle", lambda _: replace(bundle, manifest=learned, segmenter=dark))
    default, found = analysis.measure_presets(SAMPLE, 1)
    assert (default["preset"], found["preset"]) == ("default", "learned")
    assert found["nuclei"] > 0
