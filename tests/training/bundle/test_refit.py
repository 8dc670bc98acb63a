import json
import shutil

import numpy as np
import pytest
import torch

from app.pipeline.bundle.load import load_bundle
from app.pipeline.crops import seen
from app.pipeline.networks.encode import encode
from training.bundle.refit import refit_bundle
from training.cells.extract import Cells, extract_cells

pytestmark = pytest.mark.slow


@pytest.fixture
def bundle(shipped_bundle, tmp_path):
    """The shipped bundle, as if it had been trained on its sample tile."""
    return shutil.copytree(shipped_bundle, tmp_path / "marrow")


@pytest.fixture
def sample_cells(shipped_bundle, bundle):
    loaded = load_bundle(bundle, threads=1)
    manifest = loaded.manifest
    path = shipped_bundle / "sample.png"
    cells = extract_cells([path, path, path], manifest.segmentation, manifest.mpp, network=loaded.segmenter)
    clusters = encode(
        seen(cells.crops, manifest.architecture.crops), loaded.backend, manifest.n_clusters
    ).cluster_probs.argmax(axis=1)
    values = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    shares = np.bincount(clusters, minlength=manifest.n_clusters) / len(clusters)
    for row, share in zip(values["metrics"]["clusters"], shares, strict=True):
        row["share"] = share
    (bundle / "manifest.json").write_text(json.dumps(values), encoding="utf-8")
    return cells


def test_a_bundle_is_fitted_again_to_cells_that_were_read_from_a_file(bundle, sample_cells, tmp_path):
    sample_cells.save(tmp_path / "cells")
    cells = Cells.load(tmp_path / "cells")
    before = load_bundle(bundle, threads=1).manifest
    refit_bundle(bundle, cells, "next", torch.device("cpu"), keep_calibration=True)
    after = load_bundle(bundle, threads=1).manifest
    assert after.version == "next"
    assert after.architecture == before.architecture
    assert after.q_calibration == before.q_calibration
