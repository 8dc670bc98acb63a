"""A bundle whose encoder sees the size and darkness of a nucleus, so that a test knows what can be learned."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from app.pipeline.bundle.load import Bundle
from app.pipeline.manifest import Manifest
from tests.drawing import draw_tile, encoded, grid_of_centres
from tests.fakes import FakeBackend


class Seeing(FakeBackend):
    """Has 8 features of each cell: how much of the crop it covers, its mean colours, and four corners of its field."""

    def describe(self, crops, precision="full"):
        found = super().describe(crops, precision)
        covered = (crops[:, :3] < 1).any(axis=1).mean(axis=(1, 2))
        features = np.column_stack([covered, crops[:, :3].mean(axis=(2, 3)), crops[:, 3, ::31, ::31].reshape(-1, 4)])
        return replace(found, features=features.astype(np.float32))


def seeing_bundle(manifest_values, sha256="a" * 64):
    """A bundle of the name `marrow`, whose directory does not exist."""
    values = {**manifest_values, "name": "marrow"}
    values["architecture"] = {**values["architecture"], "crops": "surroundings", "encoder_width": 1}
    return Bundle(Manifest.model_validate(values), sha256, Path("marrow"), Seeing(n_channels=7))


def tile(seed=0, shape=(320, 400)):
    """A tile of nuclei of two sizes, small ones to the left, as PNG."""
    left, right = (grid_of_centres(shape) for _ in range(2))
    small, large = left[left[:, 0] < shape[1] / 2], right[right[:, 0] >= shape[1] / 2]
    pixels = draw_tile(small, shape=shape, radius=9, seed=seed)
    pixels[:, shape[1] // 2 :] = draw_tile(large, shape=shape, radius=13, seed=seed)[:, shape[1] // 2 :]
    return encoded(pixels)
