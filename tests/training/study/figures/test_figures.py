"""The paper's figures: what is drawn, of what, and how large the files are."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from app.pipeline.prototypes import tile_grid
from tests.training.study.drawn_cells import labelled
from training.errors import DataError
from training.study.figures.canvas import keep_figure
from training.study.figures.cells import draw_clusters, draw_right_and_wrong
from training.study.figures.learning import draw_curves, draw_noise, spread
from training.study.figures.proportions import draw_proportions
from training.study.protocols.clustering import PURITY, purity_while_training
from training.tracking import MetricsLog

MAX_BYTES = 300_000


def noisy_grid(rows, columns):
    return tile_grid(np.random.default_rng(0).integers(0, 256, (rows, columns, 32, 32, 3), np.uint8))


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_noise_is_shown_from_the_first_grid_to_the_last(tmp_path):
    (tmp_path / "samples").mkdir()
    for iteration in range(500, 8500, 500):
        Image.fromarray(noisy_grid(8, 5)).save(tmp_path / "samples" / f"{iteration:06d}.png")
    shown = [int(title.split()[1]) for title in titles(draw_noise(tmp_path))]
    assert shown == sorted(set(shown))
    assert (len(shown), shown[0], shown[-1]) == (6, 500, 8000)


def test_few_grids_are_all_shown():
    assert spread(np.array([100, 200, 400])) == [0, 1, 2]


def test_run_without_samples_says_so(tmp_path):
    with pytest.raises(DataError, match="0 grids"):
        draw_noise(tmp_path)


def test_samples_are_small_files_with_their_facts_beside_them(tmp_path):
    """Nuclei that are all noise are harder to store than real ones."""
    crops = np.tile(labelled().unlabelled.crops, (4, 1, 1, 1))[:400]
    crops[:, :8], crops[:, 24:], crops[:, :, :8], crops[:, :, 24:] = 255, 255, 255, 255
    results = tmp_path / "results"
    for name in ("clusters", "again"):
        path = keep_figure(draw_clusters(crops, np.arange(400) % 5, 5, seed=0), results, name, {"cells": 400})
    assert path == tmp_path / "figures" / "again.png"
    assert path.stat().st_size < MAX_BYTES
    assert json.loads((results / "figures.json").read_text()) == {"again": {"cells": 400}, "clusters": {"cells": 400}}


def test_clusters_are_counted_in_their_titles():
    crops = np.zeros((10, 32, 32, 3), np.uint8)
    figure = draw_clusters(crops, np.array([0] * 9 + [2]), 3, seed=0)
    assert titles(figure) == ["cluster 0: 9 cells (90%)", "cluster 1: 0 cells (0%)", "cluster 2: 1 cells (10%)"]


def test_wrong_cells_stand_with_the_type_that_they_were_taken_for():
    cells = labelled()
    chosen = np.arange(len(cells.types))
    predicted = cells.types.copy()
    predicted[np.flatnonzero(cells.types == 0)[:3]] = 1
    drawn = draw_right_and_wrong(cells, chosen, predicted, seed=0)
    assert titles(drawn).count("dark") == 3
    assert titles(drawn).count("pale") == 0


def test_proportions_of_every_group_are_drawn():
    random = np.random.default_rng(0)
    groups = {name: random.dirichlet(np.ones(5), n) for name, n in (("a", 20), ("b", 30), ("c", 4))}
    (axes,) = draw_proportions(groups).axes
    assert [len(points.get_offsets()) for points in axes.collections] == [20, 30, 4]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a (20)", "b (30)", "c (4)"]


@pytest.fixture
def short_run(tmp_path, other_than):
    config = other_than(generator_iterations=4, n_clusters=2, log_every=1)
    purity_while_training(labelled(), config, tmp_path, 2, torch.device("cpu"))
    return tmp_path, config


def test_purity_is_measured_at_every_pause_once(short_run):
    run, config = short_run
    purity_while_training(labelled(), config, run, 2, torch.device("cpu"))
    scores = MetricsLog.read(run / PURITY)
    assert [row["iteration"] for row in scores] == [2, 4]
    assert all(0.5 <= row["purity"] <= 1 for row in scores)


def test_curves_show_the_losses_and_the_purity_of_a_run(short_run):
    figure = draw_curves(short_run[0])
    left, right, second = figure.axes
    assert len(left.lines) == len(second.lines) == 2
    np.testing.assert_array_equal(right.lines[0].get_xdata(), [2, 4])
    assert {axes.get_xlabel() for axes in (left, right)} == {"generator iterations"}


@pytest.mark.parametrize("rest", [2, 4])
def test_loss_of_q_is_drawn_from_where_q_learns(tmp_path, rest):
    losses, scores = (MetricsLog(tmp_path / name, resume_at=0) for name in ("metrics.jsonl", PURITY))
    for iteration in (1, 2, 3, 4):
        of_q = {"loss_q": 0.5} if iteration > rest else {}
        losses.write({"iteration": iteration, "wasserstein": 1.0, **of_q})
    scores.write({"iteration": 4, "purity": 0.6, "nmi": 0.3})
    left, _, second = draw_curves(tmp_path).axes
    np.testing.assert_array_equal(left.lines[0].get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(second.lines[0].get_xdata(), range(rest + 1, 5))


def test_run_that_was_not_scored_says_how_to_score_it(tmp_path):
    with pytest.raises(DataError, match="evaluate purity"):
        draw_curves(tmp_path)
