import json

import numpy as np
import pytest
from PIL import Image

from app.pipeline.bundle.load import load_bundle
from app.pipeline.tissue.classes import BACKGROUND, BONE_AND_STROMA, FAT, HAEMATOPOIETIC, RED_CELLS
from tests.pipeline.tissue.drawn_tissue import mixed
from training.errors import DataError
from training.study.protocols.tissue import evaluate_tissue
from training.study.report.tissue import tissue as section

IN_MAP = {HAEMATOPOIETIC: 2, FAT: 0, BONE_AND_STROMA: 1, RED_CELLS: 3, BACKGROUND: 0}


@pytest.fixture
def cores(tmp_path):
    """A drawn core with a right map."""
    drawing = mixed(1.0)
    for folder, pixels in {
        "tiles": drawing.pixels(drawing.nuclei()),
        "maps": np.vectorize(IN_MAP.get)(drawing.truth),
    }.items():
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / folder / "core.png")
    return tmp_path


def test_drawn_core_agrees_with_its_map(cores, shipped_bundle):
    found = evaluate_tissue(cores, load_bundle(shipped_bundle, threads=1), 1.0)
    json.dumps(found, allow_nan=False)
    core = found["cores"]["core"]
    for kind in ("cells", "stroma", "red", "rest"):
        assert core[kind] == pytest.approx(core[f"{kind}_map"], abs=0.05)
    assert core["agreement"] > 0.9
    assert core["dice_cells"] > 0.9
    text = section({"bundle": "marrow 1", "date": "2025-01-01", **found})
    assert f"| core | {core['cells']:.3f} | {core['cells_map']:.3f} |" in text


def test_core_without_a_map_of_its_size_is_refused(cores, shipped_bundle):
    bundle = load_bundle(shipped_bundle, threads=1)
    Image.new("L", (30, 20)).save(cores / "maps" / "core.png")
    with pytest.raises(DataError, match="has 30 x 20 pixels, and its core 300 x 300"):
        evaluate_tissue(cores, bundle, 1.0)
    (cores / "maps" / "core.png").unlink()
    with pytest.raises(DataError, match=r"core\.png does not exist"):
        evaluate_tissue(cores, bundle, 1.0)
