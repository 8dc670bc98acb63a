"""Fixtures that several test folders share."""

import copy
import csv
import os
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and PyTorch: several workers of pytest share the cores

import hypothesis
import numpy as np
import pytest
from PIL import Image

from app.pipeline.bundle.load import Bundle
from app.pipeline.manifest import FILES, Manifest
from app.pipeline.presets import PAPER
from tests.fakes import FakeBackend
from tests.processes import adopt_orphans, children

REPOSITORY = Path(__file__).parents[1]
# The same examples each time, however long they take: that depends on what else the machine does.
hypothesis.settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")

KAINZ_TEST_TILES = ("BM_GRAZ_HE_0007_01", "BM_GRAZ_HE_0008_01", "BM_GRAZ_HE_0020_01")

MANIFEST_VALUES = {
    "schema_version": 2,
    "name": "fake",
    "version": "0.0.1",
    "created": "2025-01-01T00:00:00Z",
    "licence": "none",
    "n_clusters": 5,
    "latent_size": 8,
    "mpp": 0.25,
    "mpp_basis": "assumed",
    "architecture": {"channels": 4, "code_scale": 5.0},
    "segmentation": PAPER.model_dump(mode="json"),
    # Limits that no tile passes.
    "quality": {
        "stain_matrix": [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]],
        "stain_centre": [0.0] * 12,
        "stain_scale": [1.0] * 12,
        "max_stain_distance": 1e9,
        "hue_range_deg": [0, 360],
        "min_saturation": 0,
        "min_he_share": 0,
        "min_focus": 1e-9,
        "max_blockiness": 1e9,
        "min_tissue_fraction": 0,
        "max_clipped": 1,
        "nuclear_radius_range_px": [1e-9, 1e9],
        "radius_over_focus_range_px": [1e-9, 1e9],
        "min_nuclei": 1,
    },
    "cluster_names": None,
    "image_level": {
        "label_basis": "simulated",
        "min_cells": 10,
        "svm": {"weights": [1.0, -1.0, 2.0, 0.0, 0.5], "bias": -0.25},
        "kmeans": {
            "centres": [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]],
            "labels": ["abnormal", "normal"],
        },
        "calibration": None,
        "conformal": {
            "coverage": 0.9,
            "max_normal": 0.1,
            "min_abnormal": 0.2,
            "examples": {"normal": 20, "abnormal": 20},
        },
        "reference": {
            "groups": [
                {"name": "drawn", "is_simulated": False, "proportions": [[0.5, 0.5, 0, 0, 0], [0.5, 0.3, 0.2, 0, 0]]},
                {"name": "simulated", "is_simulated": True, "proportions": [[0, 0, 0.2, 0.2, 0.6]]},
            ],
            "mean": [0.2] * 5,
            "axes": [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]],
            "explained": [0.7, 0.2],
        },
    },
    "outliers": {"components": 4, "threshold": 50.0, "training_share": 0.01, "max_share": 0.05},
    "training": {
        "config": {},
        "data": [
            {
                "name": "drawn",
                "description": "drawn by a test",
                "source": "none",
                "licence": "none",
                "tiles": 1,
                "cells": 1,
            }
        ],
        "code_version": "0.0.1",
        "libraries": {},
        "iterations": 1,
    },
    "metrics": {
        "loss_q": 0.1,
        "rotation_agreement": 1.0,
        "clusters": [{"share": 0.2, "fidelity": 1.0, "diversity": 1.0}] * 5,
        "onnx_max_difference": 0.0,
        "image_level": {},
    },
    "files": dict.fromkeys(FILES, "0" * 64),
}


def pytest_collection_modifyitems(items):
    """Begin with the files that have slow tests: workers that share the files then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure(config):
    """Name the tests that failed in the last lines: in continuous integration, the reasons above fill many screens."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        for report in [*reporter.stats.get("failed", []), *reporter.stats.get("error", [])]:
            print(f"FAILED {report.nodeid}")


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left_over():
    """Fail where a process that some test began is still alive when all tests and fixtures have ended."""
    adopt_orphans()
    yield
    assert children() == []


@pytest.fixture
def manifest_values() -> dict:
    """The content of a valid manifest.json, to be changed at will."""
    return copy.deepcopy(MANIFEST_VALUES)


@pytest.fixture
def manifest(manifest_values) -> Manifest:
    return Manifest.model_validate(manifest_values)


@pytest.fixture
def fake_bundle(manifest, tmp_path) -> Bundle:
    """A bundle of known numbers, whose networks are stand-ins."""
    return Bundle(manifest, "0" * 64, tmp_path, FakeBackend(manifest.n_clusters, manifest.latent_size))


@pytest.fixture
def seeing_bundle(manifest_values, tmp_path) -> Bundle:
    """The same bundle, but its networks see what lies round a nucleus as well."""
    manifest_values["architecture"]["crops"] = "surroundings"
    manifest = Manifest.model_validate(manifest_values)
    return Bundle(manifest, "0" * 64, tmp_path, FakeBackend(manifest.n_clusters, manifest.latent_size, n_channels=7))


@pytest.fixture(scope="session")
def shipped_bundle() -> Path:
    """The bundle in the repository. Its absence is a failure, not a reason to skip."""
    directory = REPOSITORY / "models" / "marrow"
    assert directory.is_dir(), "models/marrow is not in the repository"
    return directory


@pytest.fixture(scope="session")
def encoder_bundle(shipped_bundle, tmp_path_factory) -> Path:
    """A bundle that gives 8 features of each cell, alone in its folder. Nobody may change it."""
    from tests.encoder_bundle import make_encoder_bundle  # ONNX is slow to import

    return make_encoder_bundle(shipped_bundle, tmp_path_factory.mktemp("models") / "seeing")


@pytest.fixture(scope="session")
def sample(shipped_bundle) -> bytes:
    """The synthetic tile of the shipped bundle."""
    return (shipped_bundle / "sample.png").read_bytes()


@pytest.fixture(scope="session")
def bm_graz() -> Path:
    """The public bone-marrow tiles, which may not be copied into the repository."""
    root = Path(os.environ.get("MARROWSCOPE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"The public data are not in {root} (set MARROWSCOPE_DATA).")
    return root / "bm_graz"


@pytest.fixture(scope="session")
def real_upload(bm_graz) -> bytes:
    """A real tile as a user would upload it."""
    return (bm_graz / "tiles" / "BM_GRAZ_HE_0007_01.png").read_bytes()


@pytest.fixture(scope="session")
def real_tiles(bm_graz) -> dict[str, np.ndarray]:
    """Kainz's test tiles, by name: (1200, 1200, 3) uint8."""
    tiles = {}
    for name in KAINZ_TEST_TILES:
        with Image.open(bm_graz / "tiles" / f"{name}.png") as image:
            tiles[name] = np.asarray(image.convert("RGB"))
    return tiles


@pytest.fixture(scope="session")
def real_tile(real_tiles) -> np.ndarray:
    """BM_GRAZ_HE_0007_01, the tile that the paper's colour target was taken from."""
    return real_tiles["BM_GRAZ_HE_0007_01"]


@pytest.fixture(scope="session")
def real_dots(bm_graz) -> dict[str, np.ndarray]:
    """Centres of every annotated nucleus, by tile: (N, 2) x, y."""
    dots = defaultdict(list)
    with (bm_graz / "cells.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            dots[row["tile"]].append((float(row["x"]), float(row["y"])))
    return {tile: np.asarray(points) for tile, points in dots.items()}
