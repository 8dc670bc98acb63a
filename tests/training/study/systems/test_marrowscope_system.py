from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from app.pipeline.networks.architecture import Trunk
from tests.training.study.drawn_cells import unlabelled
from training.errors import ConfigError
from training.representation.pretrain import EncoderTrainer
from training.study.systems import marrowscope_system as module
from training.study.systems.marrowscope_system import (
    EPOCHS,
    KMeansOfEncoder,
    MarrowscopeSystem,
    OurSystem,
    PaperRecipe,
    PlacesSystem,
    block_features,
    variants,
)


@pytest.fixture(scope="module")
def drawn():
    """Dark and pale cells, and which are dark."""
    return unlabelled()


@pytest.fixture(scope="module")
def small(encoder_config):
    """The fields of an encoder that trains in a second."""
    return asdict(replace(encoder_config, neighbour_share=0.5))


@pytest.fixture(scope="module")
def fitted(drawn, small):
    system = MarrowscopeSystem(2, 0, encoder=small)
    system.fit(drawn[0])
    return system


def test_q_separates_dark_from_pale_cells(drawn, small):
    """With a stain that never changes, darkness is what tells cells apart."""
    cells, dark = drawn
    system = MarrowscopeSystem(2, 0, encoder=small | {"density_jitter": 0.0, "view_weight": 1.0, "epochs": 20})
    system.fit(cells)
    clusters = system.clusters(cells.crops)
    assert max((clusters == dark).mean(), (clusters != dark).mean()) > 0.95
    assert system.notes() == {"epochs": 20, "channels": 4}


def test_probabilities_and_features_are_of_the_form_that_is_asked_for(fitted, drawn):
    crops = drawn[0].crops[:7]
    probabilities = fitted.probabilities(crops)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(probabilities.argmax(axis=1), fitted.clusters(crops))
    assert fitted.features(crops).shape == (7, 2 * (1 + 2 + 4 + 8) * 4)


@pytest.fixture
def new_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "marrowscope" / "encoders"


def test_same_seed_same_clusters(fitted, drawn, small, new_cache):
    again = MarrowscopeSystem(2, 0, encoder=small)
    again.fit(drawn[0])
    assert np.array_equal(again.probabilities(drawn[0].crops), fitted.probabilities(drawn[0].crops))


@pytest.fixture
def trained(monkeypatch):
    """Which epochs were trained."""
    done, train = [], EncoderTrainer.train_epoch

    def counted(trainer):
        done.append(trainer.epoch)
        return train(trainer)

    monkeypatch.setattr(EncoderTrainer, "train_epoch", counted)
    return done


def test_one_encoder_serves_every_k_but_no_other_seed_or_cells(drawn, small, new_cache, trained):
    MarrowscopeSystem(2, 0, encoder=small).fit(drawn[0])
    MarrowscopeSystem(3, 0, encoder=small).fit(drawn[0])
    assert trained == [0, 1, 2]
    MarrowscopeSystem(2, 1, encoder=small).fit(drawn[0])
    MarrowscopeSystem(2, 0, encoder=small).fit(drawn[0][: len(drawn[0]) - 1])
    assert len(list(new_cache.iterdir())) == 3
    assert trained == [0, 1, 2] * 3


def test_an_interrupted_encoder_is_trained_on(drawn, small, new_cache, trained, monkeypatch):
    system, whole = MarrowscopeSystem(2, 0, encoder=small), MarrowscopeSystem(2, 0, encoder=small)
    with monkeypatch.context() as patched:
        patched.setattr(module, "pretrain", partial(module.pretrain, stop_after=1))
        system.fit(drawn[0])
    whole.fit(drawn[0])
    assert trained == [0, 1, 2]


def test_q_on_an_encoder_sees_the_surroundings_and_hardly_how_a_cell_lay(fitted, drawn):
    crops = drawn[0].crops[:20]
    features = fitted.features(crops)
    elsewhere = crops.copy()
    elsewhere[..., 3:6] = 255 - elsewhere[..., 3:6]
    assert not np.allclose(fitted.features(elsewhere), features)
    turned = np.ascontiguousarray(np.rot90(crops, axes=(1, 2)))
    np.testing.assert_allclose(fitted.features(turned), features, atol=1e-4)


def test_q_does_not_look_beyond_what_its_configuration_says(drawn, small):
    system = MarrowscopeSystem(2, 0, encoder=small, crops="nucleus")
    system.fit(drawn[0])
    crops = drawn[0].crops[:20]
    elsewhere = crops.copy()
    elsewhere[..., 3:] = 0
    assert np.array_equal(system.probabilities(elsewhere), system.probabilities(crops))


def test_fields_of_an_encoder_can_only_be_changed_where_there_is_one():
    with pytest.raises(ConfigError, match="has no encoder"):
        PaperRecipe(2, 0, encoder={"epochs": 1})


def test_feature_at_full_size_is_the_papers():
    """Four maps of 128 channels, pooled to 4 × 4: 8,192 (§IV-C)."""
    trunk = Trunk(128)
    crop = torch.randn(1, 3, 32, 32)
    features = block_features(trunk, crop)
    assert features.shape == (1, 8192)
    assert features[0, 0] == nn.functional.max_pool2d(trunk.blocks[0](crop), 4)[0, 0, 0, 0]


@pytest.fixture
def short_gan(monkeypatch):
    """The GAN is small, and learns for two iterations."""
    few = partial(replace, channels=8, batch_size=4, generator_iterations=2, checkpoint_every=2)
    loop = module.training_loop
    monkeypatch.setattr(module, "training_loop", lambda config, *rest: loop(few(config), *rest))


def test_paper_recipe_trains_the_gan_and_says_how_far(drawn, short_gan):
    system = PaperRecipe(2, 0)
    assert system.config.encoder is None
    system.fit(drawn[0])
    assert set(system.clusters(drawn[0].crops)) <= {0, 1}
    assert system.notes()["generator_iterations"] == 2


def test_ours_is_the_recipe_of_the_bundle_with_fewer_epochs():
    bundled = MarrowscopeSystem(5, 1).config
    assert OurSystem(5, 1).config == replace(bundled, encoder=replace(bundled.encoder, epochs=EPOCHS))


def test_by_places_is_ours_with_another_recipe_of_the_encoder():
    ours, places = (system(5, 1).config for system in (OurSystem, PlacesSystem))
    recipe = {"near_share": 0.0, "random_starts": 4}
    assert places == replace(ours, encoder=replace(ours.encoder, **recipe))
    assert places != ours


def test_each_variant_differs_from_ours_in_one_thing():
    made = {name: system(5, 1) for name, system in variants().items()}
    ours = asdict(made.pop("ours").config)
    assert ours == asdict(OurSystem(5, 1).config)
    differences = {}
    for name, system in made.items():
        own = asdict(system.config)
        section, base = own.pop("encoder"), ours["encoder"]
        changed = {key: value for key, value in own.items() if value != ours[key]}
        differences[name] = changed | {key: value for key, value in section.items() if value != base[key]}
    assert differences == {
        "nucleus alone": {"crops": "nucleus"},
        "whole field, never near": {"near_share": 0.0},
        "no neighbours as views": {"neighbour_share": 0.0},
        "cells of all tiles in a batch": {"tiles_per_batch": 0},
        "no changes of stain": {"grey_share": 0.0, "density_jitter": 0.0},
        "no blur": {"blur_share": 0.0},
        "k-means instead of company": {},
    }
    assert type(made["k-means instead of company"]) is KMeansOfEncoder


def last_means(system, crops):
    """The means of the last map, which come after those of the other three; there are as many standard deviations."""
    return system.features(crops)[:, (1 + 2 + 4) * 4 : (1 + 2 + 4 + 8) * 4]


def test_kmeans_of_the_encoder_puts_each_cell_to_the_nearest_centre(fitted, drawn, small):
    cells = drawn[0]
    system = KMeansOfEncoder(3, 0, encoder=small)
    system.fit(cells)
    clusters, features = system.clusters(cells.crops), last_means(fitted, cells.crops)
    centres = np.stack([features[clusters == k].mean(axis=0) for k in range(3)])
    distances = np.linalg.norm(features[:, None] - centres, axis=2)
    np.testing.assert_array_equal(distances.argmin(axis=1), clusters)
    assert set(np.unique(system.probabilities(cells.crops))) == {0, 1}


def test_features_without_an_encoder_do_not_depend_on_how_a_cell_lay(drawn, short_gan):
    """A long nucleus, dark at one end."""
    system = PaperRecipe(2, 0)
    system.fit(drawn[0])
    crop = np.full((1, 32, 32, 3), 255, np.uint8)
    crop[0, 12:20, 6:26] = np.linspace(60, 200, 20, dtype=np.uint8)[:, None]
    lying, standing = (system.features(np.ascontiguousarray(one)) for one in (crop, np.rot90(crop, axes=(1, 2))))
    assert lying.shape == (1, 64 * 8)
    assert np.abs(lying - standing).mean() < 0.1 * np.abs(lying).mean()
