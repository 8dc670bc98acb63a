"""`POST /analyze?features=true`: what the encoder sees of each cell."""

import base64
from dataclasses import replace

import numpy as np
import pytest

import app.service
from app.answer.schemas import AnalysisOut
from app.pipeline.manifest import Manifest
from tests.api.answers import post_tile
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.encoder_bundle import make_encoder_bundle
from tests.fakes import FakeBackend

TOO_LARGE = 1e9
"""More than 16 bits can hold."""


class Seeing(FakeBackend):
    """Has 8 features of each cell: seven means of its crop, and one that is too large."""

    def describe(self, crops, precision="full"):
        features = np.full((len(crops), 8), TOO_LARGE, np.float32)
        features[:, :7] = crops[:, 0, :7].mean(axis=2)
        return replace(super().describe(crops, precision), features=features)


@pytest.fixture
def seeing_client(serve, monkeypatch, fake_bundle, manifest_values):
    manifest_values["architecture"]["encoder_width"] = 1
    bundle = replace(fake_bundle, manifest=Manifest.model_validate(manifest_values), backend=Seeing())
    monkeypatch.setattr(app.service, "load_bundle", lambda *_: bundle)
    return serve()


def features_of(answer):
    return np.stack([np.frombuffer(base64.b64decode(cell["features"]), "<f2") for cell in answer["cells"]])


def test_every_cell_has_its_features_where_they_are_asked_for(seeing_client):
    tile = encoded(draw_tile(grid_of_centres()))
    answer = post_tile(seeing_client, tile, features=True).json()
    found = features_of(answer)
    assert found.shape == (len(answer["cells"]), 8)
    assert len(np.unique(found, axis=0)) > 1
    assert (found[:, :7] <= 1).all()
    assert (found[:, 7] == 65504).all(), "the largest number that 16 bits can hold"
    assert answer["parameters"]["features"] is True


def test_the_typed_answer_has_them_as_an_array_with_which_one_can_compute(seeing_client):
    response = post_tile(seeing_client, encoded(draw_tile(grid_of_centres())), features=True)
    found = AnalysisOut.model_validate_json(response.content).features
    np.testing.assert_array_equal(found, features_of(response.json()))
    assert np.isfinite((found**2).sum()), "a square of the largest number is a number, too"


def test_without_the_parameter_the_answer_is_what_it_was(seeing_client):
    response = post_tile(seeing_client, encoded(draw_tile(grid_of_centres())))
    answer = response.json()
    assert "features" not in answer["parameters"]
    assert not any("features" in cell for cell in answer["cells"])
    assert AnalysisOut.model_validate_json(response.content).features is None


def test_tile_without_cells_has_no_features(seeing_client):
    response = post_tile(seeing_client, encoded(np.full((64, 64, 3), 250, np.uint8)), features=True)
    assert (response.status_code, response.json()["cells"]) == (200, [])
    assert AnalysisOut.model_validate_json(response.content).features.shape == (0, 0)


def test_bundle_without_an_encoder_refuses_and_says_why(serve, shipped_bundle, tmp_path, sample):
    make_encoder_bundle(shipped_bundle, tmp_path / "blind", has_features=False)
    response = post_tile(serve(bundles_dir=tmp_path, bundle="blind"), sample, features=True)
    assert response.status_code == 422
    assert "The bundle blind gives no features of cells" in response.json()["detail"]
