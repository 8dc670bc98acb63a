"""Prototypes beside real cells: a generator that draws known cells, and a Q that sorts them by how much they cover."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.pipeline.crops import to_network
from tests.fakes import FakeBackend
from training import __main__ as command_line
from training.errors import DataError
from training.study.figures.prototypes import draw_neighbours, prototype_figure
from training.study.protocols.prototypes import FEWEST_REAL, GENERATED, SHOWN, evaluate_prototypes
from training.study.report.prototypes import prototypes as section

# What the stand-in for Q takes for cells of each cluster: they cover .1, .3, .5, .7 and .9 of the crop.
SIDES = (10, 18, 22, 27, 30)


def cells(n, k, random):
    """Noisy squares of the size of cluster k, on white."""
    crops = np.full((n, 32, 32, 3), 255, np.uint8)
    side = SIDES[k]
    crops[:, :side, :side] = random.integers(0, 255, (n, side, side, 3))
    return crops


def features(crops):
    return np.stack([crops.mean(axis=(1, 2, 3)), crops.std(axis=(1, 2, 3))], axis=1).astype(np.float32)


class Drawing(FakeBackend):
    """Its generator draws copies of real cells in cluster 0, new ones in cluster 1, and white ones elsewhere."""

    def __init__(self, real):
        super().__init__()
        random = np.random.default_rng(1)
        self.by_cluster = [np.rot90(real[:GENERATED], axes=(1, 2)), cells(GENERATED, 1, random)]
        self.by_cluster += [np.full((GENERATED, 32, 32, 3), 255, np.uint8)] * 3

    def generate(self, latent):
        return to_network(np.ascontiguousarray(self.by_cluster[latent[0, :5].argmax()][: len(latent)]))


@pytest.fixture(scope="module")
def real():
    """Real cells of clusters 0, 1 and 2, of which the last has one too few."""
    random = np.random.default_rng(0)
    return np.concatenate([cells(n, k, random) for k, n in enumerate((500, 500, FEWEST_REAL - 1))])


@pytest.fixture
def drawing_bundle(fake_bundle, real):
    return replace(fake_bundle, backend=Drawing(real))


def with_field(real):
    """The cells with seven channels: their field is the nucleus again."""
    return np.concatenate([real, real, real[..., :1]], axis=3)


def test_copies_new_cells_and_wrong_ones_are_told_apart(drawing_bundle, real):
    rows, pairs = evaluate_prototypes(real, drawing_bundle, features)
    json.dumps(rows, allow_nan=False)
    copied, new, few, *none = rows
    assert [row["real"] for row in rows] == [500, 500, FEWEST_REAL - 1, 0, 0]
    assert copied["fidelity"] == new["fidelity"] == 1
    assert (copied["nearest"], copied["closest"]) == (0, 0)
    assert new["nearest"] == pytest.approx(new["nearest_real"], rel=0.05), "new cells of the same kind are as far away"
    assert new["diversity"] == pytest.approx(1, abs=0.1)
    assert new["told_apart"] == pytest.approx(0.5, abs=0.1)
    assert set(few) == set(none[0]) == {"real", "fidelity"}
    assert few["fidelity"] == 0

    assert len(pairs) == 2
    drawn, neighbours = pairs[0]
    np.testing.assert_array_equal(drawn, np.rot90(neighbours, axes=(1, 2)))

    text = section({"bundle": "fake 1", "date": "2025-01-01", "network": "N", "generated": GENERATED, "clusters": rows})
    assert f"| 2 | {FEWEST_REAL - 1} | 0.000 | – | – | – | – | – | – | – | – |" in text
    assert f"| {new['kid']:.3f} ± {new['kid_sd']:.3f} |" in text
    assert "None" not in text


def test_generated_cells_that_look_otherwise_are_told_apart(drawing_bundle, real):
    paler = 255 - (255 - drawing_bundle.backend.by_cluster[1]) // 2
    drawing_bundle.backend.by_cluster[1] = paler
    new = evaluate_prototypes(real, drawing_bundle, features)[0][1]
    assert new["told_apart"] == 1
    assert new["kid"] > 100 * abs(new["kid_real"])


def test_a_bundle_is_shown_what_it_sees_of_the_cells(drawing_bundle, seeing_bundle, real):
    """Both sort by the nucleus; the one that sees surroundings draws them as well."""
    kept = with_field(real)
    alone = evaluate_prototypes(kept, drawing_bundle, features)
    assert [row["real"] for row in alone[0]] == [500, 500, FEWEST_REAL - 1, 0, 0]
    assert alone[1][0][1].shape == (SHOWN, 32, 32, 3)
    seeing = evaluate_prototypes(kept, seeing_bundle, features)
    assert [row["real"] for row in seeing[0]] == [500, 500, FEWEST_REAL - 1, 0, 0]
    assert seeing[1][0][1].shape == (SHOWN, 32, 32, 7)


def test_too_few_cells_are_refused(drawing_bundle, real):
    with pytest.raises(DataError, match=f"No cluster has {FEWEST_REAL} of the 9 cells"):
        evaluate_prototypes(real[:9], drawing_bundle, features)


def test_neighbours_stand_below_each_other_and_are_enlarged_smoothly():
    step = np.full((SHOWN, 32, 32, 7), 255, np.uint8)
    step[:, :, 16:] = 0
    drawn = draw_neighbours([(step, np.full_like(step, 100))] * 2)
    assert drawn.shape == (8 * (4 * 32 + 3), 8 * 32 * SHOWN, 3)
    assert (drawn[300:500] == 100).all(), "the real cells are the lower row"
    assert len(np.unique(drawn[100, 100:156])) > 4, "an edge has levels of grey between both sides"


def test_the_figure_of_the_bundle_is_enlarged_smoothly(fake_bundle):
    assert prototype_figure(fake_bundle).shape == (8 * 32 * 4, 5 * 32 * 4, 3)


def test_command_writes_the_figures_and_the_picture(shipped_bundle, real, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "training.cells.extract.Cells.load", lambda _: type("Loaded", (), {"crops": with_field(real[::5])})
    )
    monkeypatch.setattr(
        "training.study.baselines.imagenet_cnn.ImageNetFeatures.features", lambda _, crops: features(crops)
    )
    arguments = ["training", "evaluate", "prototypes", tmp_path, tmp_path / "results", "--bundle", shipped_bundle]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 0
    scores = json.loads((tmp_path / "results" / "prototypes.json").read_text(encoding="utf-8"))
    assert sum(row["real"] for row in scores["clusters"]) == len(real[::5])
    assert scores["network"] == "EfficientNet-Lite0"
    assert Image.open(tmp_path / "figures" / "prototypes.jpg").width == 8 * 32 * SHOWN
