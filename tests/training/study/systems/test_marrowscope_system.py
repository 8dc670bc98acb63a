from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from app.pipeline.networks.architecture import Trunk
from tests.training.study.drawn_cells import unlabelled
from training.study.systems import marrowscope_system as module
from training.study.systems.marrowscope_system import MarrowscopeSystem, PaperRecipe, block_features, variants

SEEING = {"crops": "surroundings", "anchor_steps": 0, "batch_size": 8}
TINY = {"channels": 8, "anchor_steps": 100, "batch_size": 8}


@pytest.fixture(scope="module")
def drawn():
    """Dark and pale cells, and which are dark."""
    return unlabelled()


@pytest.fixture(scope="module")
def fitted(drawn):
    system = MarrowscopeSystem(2, 0, **TINY)
    system.fit(drawn[0])
    return system


def test_q_separates_dark_from_pale_cells(fitted, drawn):
    cells, dark = drawn
    clusters = fitted.clusters(cells.crops)
    assert max((clusters == dark).mean(), (clusters != dark).mean()) > 0.95
    assert fitted.notes()["anchor_steps"] == 100


def test_probabilities_and_features_are_of_the_form_that_is_asked_for(fitted, drawn):
    crops = drawn[0].crops[:7]
    probabilities = fitted.probabilities(crops)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(probabilities.argmax(axis=1), fitted.clusters(crops))
    assert fitted.features(crops).shape == (7, 64 * 8)


def test_q_does_not_look_beyond_what_its_configuration_says(fitted, drawn):
    crops = drawn[0].crops[:20]
    elsewhere = crops.copy()
    elsewhere[..., 3:] = 0
    assert np.array_equal(fitted.probabilities(elsewhere), fitted.probabilities(crops))


def test_same_seed_same_clusters(fitted, drawn):
    again = MarrowscopeSystem(2, 0, **TINY)
    again.fit(drawn[0])
    assert np.array_equal(again.probabilities(drawn[0].crops), fitted.probabilities(drawn[0].crops))


def test_q_on_an_encoder_sees_the_surroundings_and_hardly_how_a_cell_lay(encoder_config, drawn):
    cells, _ = drawn
    system = MarrowscopeSystem(2, 0, **SEEING, encoder=encoder_config)
    system.fit(cells)
    assert set(system.clusters(cells.crops)) == {0, 1}
    features = system.features(cells.crops[:20])
    assert features.shape == (20, 8 * encoder_config.width)
    elsewhere = cells.crops[:20].copy()
    elsewhere[..., 3:6] = 255 - elsewhere[..., 3:6]
    assert not np.allclose(system.features(elsewhere), features)
    turned = np.ascontiguousarray(np.rot90(cells.crops[:20], axes=(1, 2)))
    np.testing.assert_allclose(system.features(turned), features, atol=1e-4)


def test_encoder_is_trained_once_for_all_numbers_of_clusters(encoder_config, drawn, monkeypatch):
    trained = []
    pretrain = module.pretrain
    monkeypatch.setattr(module, "pretrain", lambda config, *rest: trained.append(config) or pretrain(config, *rest))
    for n_clusters, seed in ((2, 7), (3, 7), (2, 8)):
        MarrowscopeSystem(n_clusters, seed, **SEEING, encoder=encoder_config).fit(drawn[0])
    assert [config.seed for config in trained] == [7, 8]


def test_feature_at_full_size_is_the_papers():
    """Four maps of 128 channels, pooled to 4 × 4: 8,192 (§IV-C)."""
    trunk = Trunk(128)
    crop = torch.randn(1, 3, 32, 32)
    features = block_features(trunk, crop)
    assert features.shape == (1, 8192)
    assert features[0, 0] == nn.functional.max_pool2d(trunk.blocks[0](crop), 4)[0, 0, 0, 0]


def test_paper_recipe_trains_the_gan_and_says_how_far(drawn, monkeypatch):
    few = partial(replace, channels=8, batch_size=4, generator_iterations=2, checkpoint_every=2)
    loop = module.training_loop
    monkeypatch.setattr(module, "training_loop", lambda config, *rest: loop(few(config), *rest))
    system = PaperRecipe(2, 0)
    assert system.config.anchor_steps == 0
    system.fit(drawn[0])
    assert set(system.clusters(drawn[0].crops)) <= {0, 1}
    assert system.notes()["generator_iterations"] == 2


def test_variants_differ_from_ours_in_what_they_name():
    made = {name: system(5, 1).config for name, system in variants().items()}
    of_ours = made.pop("ours")
    assert of_ours == MarrowscopeSystem(5, 1).config
    assert made["without stain jitter"] == replace(of_ours, stain_jitter=0.0)
    assert made["128 channels, as wide as the paper's"] == replace(of_ours, channels=128)
    assert made["without anchors: Q of the GAN"].anchor_steps == 0
    assert len(set(made.values()) | {of_ours}) == len(variants())


def test_features_do_not_depend_on_how_a_cell_lay(fitted):
    """A long nucleus, dark at one end."""
    crop = np.full((1, 32, 32, 3), 255, np.uint8)
    crop[0, 12:20, 6:26] = np.linspace(60, 200, 20, dtype=np.uint8)[:, None]
    lying, standing = (fitted.features(np.ascontiguousarray(one)) for one in (crop, np.rot90(crop, axes=(1, 2))))
    assert np.abs(lying - standing).mean() < 0.1 * np.abs(lying).mean()
