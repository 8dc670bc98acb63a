import json
from dataclasses import replace

import numpy as np
import pytest

from app.pipeline.bundle.load import load_bundle
from app.pipeline.crops import pictures, surroundings
from app.pipeline.run import analyse_stages
from app.pipeline.types import CHANNELS
from training.cells.tile_files import tile_paths
from training.study.protocols.outliers import CROPS_PER_KIND, evaluate_outliers, not_cells


@pytest.fixture(scope="module")
def sample_data(shipped_bundle, tmp_path_factory):
    """The bundle's sample tile in the place of the data sets."""
    data = tmp_path_factory.mktemp("data")
    for name in ("bm_graz", "consep"):
        (data / name / "tiles").mkdir(parents=True)
        (data / name / "tiles" / "sample.png").write_bytes((shipped_bundle / "sample.png").read_bytes())
    return data


def test_what_is_no_cell_has_the_outline_of_one(shipped_bundle):
    bundle = load_bundle(shipped_bundle, threads=1)
    _, stages = analyse_stages((shipped_bundle / "sample.png").read_bytes(), bundle, max_pixels=10**6)
    for name, crops in not_cells([stages]):
        assert crops.shape[1:] == (32, 32, CHANNELS[bundle.manifest.architecture.crops])
        assert crops.dtype == np.uint8
        assert 0 < len(crops) <= CROPS_PER_KIND
        if name != "noise":
            assert (pictures(crops)[:, :2, :2] == 255).all(axis=(1, 2, 3)).mean() > 0.8


def test_what_is_no_cell_lies_in_the_surroundings_of_one(seeing_bundle, sample):
    _, stages = analyse_stages(sample, seeing_bundle, max_pixels=10**6)
    for name, crops in not_cells([stages]):
        assert (crops.shape[1:], crops.dtype) == ((32, 32, 7), np.uint8)
        alone, field, mask = pictures(crops), surroundings(crops), crops[..., 6]
        if name == "dirt (black)":
            assert (alone.min(axis=3) < 100).sum() == pytest.approx(4 * (mask / 255).sum(), rel=0.02)
            assert (field[mask == 255] < 100).all()
        elif name == "noise":
            assert (mask[:, 8:24, 8:24] == 255).mean() > 0.999
            assert mask.sum() == mask[:, 8:24, 8:24].sum()


def test_rates_are_counted_for_the_sets_that_are_there(shipped_bundle, sample_data):
    bundle = load_bundle(shipped_bundle, threads=1)
    found = evaluate_outliers(sample_data, bundle)
    json.dumps(found, allow_nan=False)
    assert set(found["cells"]) == {"marrow (`bm_graz`)", "colon (`consep`)"}
    marrow = found["cells"]["marrow (`bm_graz`)"]
    assert marrow["tiles"] == len(tile_paths(sample_data / "bm_graz" / "tiles")) == 1
    assert marrow["flagged"] == 0
    assert found["crops"]["noise"] == {"crops": CROPS_PER_KIND, "outliers": 1.0}
    assert found["threshold"] == bundle.manifest.outliers.threshold


def test_a_bundle_that_calls_everything_an_outlier_is_seen_to(shipped_bundle, sample_data):
    bundle = load_bundle(shipped_bundle, threads=1)
    strict = bundle.manifest.outliers.model_copy(update={"threshold": -1e9})
    bundle = replace(bundle, manifest=bundle.manifest.model_copy(update={"outliers": strict}))
    found = evaluate_outliers(sample_data, bundle)
    assert {row["outliers"] for row in [*found["cells"].values(), *found["crops"].values()]} == {1.0}
    assert found["cells"]["marrow (`bm_graz`)"]["flagged"] == 1
