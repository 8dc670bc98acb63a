"""`POST /analyze` by a bundle that people have taught types of cells, from the upload to the answer."""

from dataclasses import replace

import numpy as np
import pytest

import app.service
from app.pipeline.manifest import Manifest
from tests.api.answers import post_tile
from tests.cell_classifiers import taught_values
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.fakes import FakeBackend

DRAWN = encoded(draw_tile(grid_of_centres()))
AREA = 23.6
"""About the area of most nuclei that are drawn, µm² at 0.25 µm per pixel."""


class Seeing(FakeBackend):
    """Sees how much of a crop is covered, which is the first of 8 features."""

    def describe(self, crops, precision="full"):
        features = np.zeros((len(crops), 8), np.float32)
        features[:, 0] = (crops < 1).any(axis=1).mean(axis=(1, 2))
        return replace(super().describe(crops, precision), features=features)


@pytest.fixture
def served(serve, monkeypatch, fake_bundle, manifest_values):
    """Serve a bundle with a classifier of these values."""

    def start(**values):
        manifest_values["architecture"]["encoder_width"] = 1
        manifest_values["cell_classifier"] = taught_values() | values
        bundle = replace(fake_bundle, manifest=Manifest.model_validate(manifest_values), backend=Seeing())
        monkeypatch.setattr(app.service, "load_bundle", lambda *_: bundle)
        return serve()

    return start


def test_type_of_a_cell_follows_from_its_features_and_measurements(served):
    # The first type is that of nuclei that are larger than most, whatever the features.
    values = {
        "measurements": ["area"],
        "mean": [0.0] * 8 + [AREA],
        "deviation": [1.0] * 8 + [0.1],
        "weights": [[0.0] * 8 + [1.0], [0.0] * 9],
        "bias": [0.0, 0.0],
    }
    answer = post_tile(served(**values), DRAWN, mpp=0.25).json()
    assert len(answer["cells"]) > 10
    for cell in answer["cells"]:
        area = cell["measurements"]["area_um2"]
        expected = 1 / (1 + np.exp((AREA - area) / 0.1))
        assert cell["type"] == ("dark small" if expected > 0.5 else "pale large")
        assert cell["type_probability"] == pytest.approx(max(expected, 1 - expected), abs=1e-6)
    assert {cell["type"] for cell in answer["cells"]} == {"dark small", "pale large"}


def test_answer_is_the_same_again_with_types(served):
    client = served(threshold=0.6)
    first, again = (post_tile(client, DRAWN).json() for _ in range(2))
    assert first["types"] == again["types"]
    assert first["result_sha256"] == again["result_sha256"]


def test_tile_without_cells_has_types_without_shares(served):
    answer = post_tile(served(), encoded(np.full((64, 64, 3), 250, np.uint8))).json()
    assert (answer["cells"], answer["cells_without_type"]) == ([], 0)
    assert [one["proportion"] for one in answer["types"]] == [None, None]


def test_card_of_the_bundle_shows_its_classifier(served):
    found = served().get("/bundles/marrow").json()["manifest"]["cell_classifier"]
    assert [one["name"] for one in found["types"]] == ["dark small", "pale large"]
    assert found["validation"]["confusion"] == [[18, 1, 1], [2, 16, 2]]
