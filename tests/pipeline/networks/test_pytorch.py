import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from app.pipeline.errors import InvalidBundle
from app.pipeline.manifest import WEIGHTS, Manifest
from app.pipeline.networks.architecture import ClusterNet, Encoder, EncoderQ, Generator, PictureSurprise
from app.pipeline.networks.pytorch import TorchBackend


@pytest.fixture
def encoder_manifest(manifest_values):
    manifest_values["architecture"] |= {"crops": "surroundings", "encoder_width": 4}
    return Manifest.model_validate(manifest_values)


@pytest.fixture
def saved(encoder_manifest, tmp_path):
    """The weights of networks that see surroundings, with Q on an encoder; returns Q."""
    torch.manual_seed(0)
    q = ClusterNet(EncoderQ(Encoder(7, 4), 5), PictureSurprise(2, 4, 5)).eval()
    nets = torch.nn.ModuleDict({"generator": Generator(4, 5, 8, 5.0, outputs=7), "q": q})
    save_file(nets.state_dict(), tmp_path / WEIGHTS)
    return q


def test_manifest_without_the_new_words_is_that_of_the_paper(manifest):
    assert manifest.architecture.crops == "nucleus"
    assert manifest.architecture.encoder_width is None


def test_networks_are_rebuilt_as_the_manifest_says(encoder_manifest, saved, tmp_path):
    backend = TorchBackend(tmp_path, encoder_manifest)
    crops = backend.generate(np.eye(13, dtype=np.float32)[:6])
    assert crops.shape == (6, 7, 32, 32)
    with torch.inference_mode():
        expected = saved(torch.from_numpy(crops))
    found = backend.describe(crops)
    np.testing.assert_allclose(found.cluster_probs, expected[0], atol=1e-6)
    np.testing.assert_allclose(found.features, saved.trunk(torch.from_numpy(crops)).detach(), atol=1e-6)


def test_weights_of_another_q_are_refused(manifest, saved, tmp_path):
    with pytest.raises(InvalidBundle, match="does not fit the manifest's architecture"):
        TorchBackend(tmp_path, manifest)
