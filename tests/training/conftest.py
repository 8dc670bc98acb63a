"""Cells and configurations small enough to train on in a test."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.pipeline.measure.table import INDEX, MEASUREMENTS
from app.pipeline.presets import PAPER
from app.pipeline.quality.reference import measure_views, stack_views
from app.pipeline.stain.unmix import unmix
from tests.drawing import HAEMATOXYLIN, disc, draw_tile, grid_of_centres
from training.cells.extract import Cells
from training.config import Config, EncoderConfig, SegmenterConfig, TrainConfig, load_config, load_segmenter_config
from training.representation import company


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Networks this small are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Encoders of the tables are kept in the user's cache directory, which a test leaves alone."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def smoke() -> Config:
    return load_config(Path("smoke"))


@pytest.fixture(scope="session")
def train_config(smoke) -> TrainConfig:
    return smoke.train


@pytest.fixture(scope="session")
def encoder_config(train_config) -> EncoderConfig:
    """An encoder that trains in seconds, and sees the same cell twice."""
    return replace(train_config.encoder, epochs=3, neighbour_share=0.0)


SIZES = (
    "channels",
    "latent_size",
    "generator_iterations",
    "critic_steps",
    "batch_size",
    "log_every",
    "checkpoint_every",
)


@pytest.fixture(scope="session")
def tiny_paper(smoke) -> Config:
    """The paper's configuration, whose Q stands on no encoder, as small as the smoke configuration.

    Unlike in the paper, the weights are averaged, so that averages differ from the weights themselves.
    """
    paper, sizes = load_config(Path("paper")), {name: getattr(smoke.train, name) for name in SIZES}
    train = replace(paper.train, **sizes, precision="float32", ema_decay=0.998)
    return replace(paper, data=smoke.data, train=train, fit=smoke.fit)


@pytest.fixture(scope="session")
def without_encoder(tiny_paper) -> TrainConfig:
    return tiny_paper.train


@pytest.fixture(scope="module")
def quick_head():
    """The head of a Q on an encoder learns for a few steps: how well is not the matter here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(company, "FIRST_STEPS", 5)
        patched.setattr(company, "STEPS", 5)
        patched.setattr(company, "STARTS", 1)
        yield


@pytest.fixture
def other_than(train_config):
    """The smoke configuration with some values changed."""
    return lambda **changes: replace(train_config, **changes)


@pytest.fixture(scope="session")
def cells() -> Cells:
    """Round nuclei on three tiles: on the first two every fourth is large and pale, as a blast's.

    The crops are what a network sees that does not look at surroundings.
    """
    random = np.random.default_rng(0)
    crops, areas, tiles = [], [], []
    for i in range(120):
        blast = i % 4 == 0 and i < 80
        inside = disc((32, 32), (15.5, 15.5), 13 if blast else 8 + i % 3)
        crop = np.full((32, 32, 3), 255, np.uint8)
        crop[inside] = random.integers(150, 200, 3) if blast else random.integers(40, 110, 3)
        crops.append(crop)
        areas.append(inside.sum())
        tiles.append(i // 40)
    matrix = np.stack([HAEMATOXYLIN, HAEMATOXYLIN[::-1]], axis=1)
    return Cells(
        crops=np.stack(crops),
        compressed=np.stack(crops),
        tile_index=np.array(tiles),
        centroids=random.uniform(0, 300, (120, 2)),
        areas_px=np.array(areas),
        measurements=_measured(np.array(areas)),
        tiles=("a", "b", "c"),
        stain_matrices=np.stack([matrix, matrix, np.full((3, 2), np.nan)]),
        cellularity=np.array([0.6, 0.5, np.nan]),
        segmentation=PAPER,
        mpp=0.25,
        appearance=None,
        views=stack_views([row for i in range(3) for row in _views(i)]),
    )


@pytest.fixture(scope="session")
def kept_cells(cells) -> Cells:
    """The same cells as cells.npz holds them: the networks of these tests would fail on the surroundings."""
    surroundings = np.random.default_rng(1).integers(0, 256, (len(cells), 32, 32, 4), np.uint8)
    kept = np.concatenate([cells.crops, surroundings], axis=3)
    return replace(cells, crops=kept, compressed=kept)


def _measured(areas_px):
    """Only the areas: nothing else was measured on these cells."""
    measurements = np.full((len(areas_px), len(MEASUREMENTS)), np.nan)
    measurements[:, INDEX["area"]] = areas_px * 0.25**2
    return measurements


def _views(i):
    tile = draw_tile(grid_of_centres(), seed=i)
    return measure_views(i, tile, unmix(tile, PAPER.stain), PAPER.stain)


@pytest.fixture(scope="session")
def segmenter_config() -> SegmenterConfig:
    return load_segmenter_config(Path("smoke")).segmenter
