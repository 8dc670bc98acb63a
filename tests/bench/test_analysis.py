from bench.process import rss_mb, run_child
from bench.tiles import SAMPLE


def test_tile_is_measured_in_a_process_of_its_own():
    found = run_child("bench.analysis", "ours", str(SAMPLE), "2")
    assert found["cells"] > 0
    assert len(found["seconds"]) == 2
    assert 0 < found["stages_ms"]["decode"] < found["stages_ms"]["total"] <= 1000 * max(found["seconds"])
    if rss_mb() is not None:
        assert 0 < found["idle_rss_mb"] <= found["peak_rss_mb"]


def test_q_alone_is_measured_at_each_precision():
    rates = run_child("bench.analysis", "q")["rates"]
    assert {rate["precision"] for rate in rates} == {"full", "fast"}
    assert all(rate["cells_per_s"] > 0 for rate in rates)
