import numpy as np
import pytest
from PIL import Image

from app.pipeline.bundle import read_manifest
from app.pipeline.manifest import Metrics
from app.pipeline.presets import PAPER
from tests.drawing import draw_tile, grid_of_centres
from training import evaluate, sample_tile
from training.data import DataError
from training.evaluate import evaluate_detection
from training.report import render
from training.shippable import GATES, failed_gates


def metrics(loss_q=0.1, share=0.2, fidelity=0.99, diversity=0.8, rotation_agreement=0.95):
    """Five clusters, the last of them as asked."""
    good = {"share": 0.2, "fidelity": 1.0, "diversity": 1.0}
    return Metrics.model_validate(
        {
            "loss_q": loss_q,
            "rotation_agreement": rotation_agreement,
            "clusters": [good] * 4 + [{"share": share, "fidelity": fidelity, "diversity": diversity}],
            "onnx_max_difference": 0.0,
            "image_level": {},
        }
    )


def test_good_figures_pass_every_gate():
    assert failed_gates(metrics()) == []


@pytest.mark.parametrize(
    ("figure", "passes", "fails"),
    [
        ("loss_q", 0.1999, 0.2),
        ("share", 0.03, 0.0299),
        ("fidelity", 0.95, 0.9499),
        ("diversity", 0.5, 0.4999),
        ("rotation_agreement", 0.9, 0.8999),
    ],
)
def test_each_gate_stands_where_the_specification_put_it(figure, passes, fails):
    assert failed_gates(metrics(**{figure: passes})) == []
    (failure,) = failed_gates(metrics(**{figure: fails}))
    assert failure.startswith(GATES[figure].title)
    assert GATES[figure].wanted in failure


def test_cluster_too_small_to_measure_its_diversity_does_not_pass():
    assert len(failed_gates(metrics(diversity=None))) == 1


def test_collapsed_model_fails_several_gates():
    assert len(failed_gates(metrics(loss_q=1.61, share=0.0, fidelity=0.0, diversity=None))) == 4


DETECTION = {
    "paper": {
        "tune": {"precision": 0.8, "recall": 0.7, "f1": 0.747, "found": 100, "truth": 120},
        "test": {"precision": 0.886, "recall": 0.731, "f1": 0.801, "found": 50, "truth": 61},
    }
}


def test_report_says_what_was_measured_and_nothing_else(shipped_bundle):
    manifest, _ = read_manifest(shipped_bundle)
    text = render(DETECTION, manifest)
    assert "| paper | test | 0.886 | 0.731 | 0.801 | 50 | 61 |" in text
    assert f"{manifest.metrics.loss_q:.3f}" in text
    assert f"{manifest.training.iterations} generator iterations" in text
    assert manifest.image_level.label_basis in text
    for k, cluster in enumerate(manifest.metrics.clusters):
        assert f"| {k} | {cluster.share:.3f} | {cluster.fidelity:.3f} |" in text
    for gate in GATES.values():
        assert gate.title in text
    assert "None" not in text
    assert "{" not in text


def test_report_of_a_cluster_without_diversity_has_a_dash(shipped_bundle):
    manifest, _ = read_manifest(shipped_bundle)
    figures = manifest.metrics.clusters[0].model_copy(update={"diversity": None})
    clusters = (figures, *manifest.metrics.clusters[1:])
    changed = manifest.model_copy(update={"metrics": manifest.metrics.model_copy(update={"clusters": clusters})})
    assert "| 0 |" in render(DETECTION, changed)
    assert "| – |" in render(DETECTION, changed)


def test_tables_of_the_report_are_well_formed(shipped_bundle):
    columns = 0
    for line in render(DETECTION, read_manifest(shipped_bundle)[0]).splitlines():
        found = line.count("|") if line.startswith("|") else 0
        assert found in (columns, 0) or columns == 0, line
        columns = found


@pytest.fixture
def data_set(tmp_path):
    """One tile of each split, with a dot on each nucleus; on the test tile two dots more."""
    (tmp_path / "tiles").mkdir()
    centres = grid_of_centres()
    rows = ["tile,x,y,code"]
    for name, extra in (("BM_GRAZ_HE_0007_01", [[2, 2], [237, 2]]), ("other", [])):
        Image.fromarray(draw_tile(centres)).save(tmp_path / "tiles" / f"{name}.png")
        rows += [f"{name},{x},{y},1" for x, y in [*centres.tolist(), *extra]]
    (tmp_path / "cells.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def test_detection_is_scored_for_each_split(data_set, monkeypatch):
    monkeypatch.setattr(evaluate, "SEGMENTATIONS", {"paper": PAPER})
    n = len(grid_of_centres())
    scores = evaluate_detection(data_set)["paper"]
    assert scores["tune"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "found": n, "truth": n}
    assert scores["test"] == pytest.approx(
        {"precision": 1.0, "recall": n / (n + 2), "f1": 2 * n / (2 * n + 2), "found": n, "truth": n + 2}
    )


def test_detection_without_dots_is_an_error(data_set):
    (data_set / "cells.csv").unlink()
    with pytest.raises(DataError, match=r"cells\.csv"):
        evaluate_detection(data_set)


def test_sample_tile_is_drawn_from_cells_and_a_seed(cells):
    many = np.tile(cells.crops, (2, 1, 1, 1))
    first, again, other = (sample_tile.draw_tile(many, seed) for seed in (0, 0, 1))
    assert first.shape == (512, 512, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_white_cells_leave_the_background_as_it_is():
    blank = sample_tile.draw_tile(np.full((144, 32, 32, 3), 255, np.uint8))
    np.testing.assert_array_equal(blank, sample_tile.draw_tile(np.zeros((0, 32, 32, 3), np.uint8)))
