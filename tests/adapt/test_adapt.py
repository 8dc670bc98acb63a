"""A bundle adapted to tiles of another laboratory: real tiles, recoloured as a simulated laboratory would show them."""

import json

import numpy as np
import pytest

from app.adapt.fit import adapt
from app.adapt.report import write_report
from app.pipeline.bundle.load import load_bundle
from app.pipeline.errors import InvalidBundle, InvalidParameter, UnsuitableTiles
from app.pipeline.quality.assess import HARMLESS
from app.pipeline.run import analyse
from tests.batch.read.drawn_slides import write_pyramid
from tests.drawing import encoded
from tests.shell.runs import run, usage_error
from training.cells.tile_files import read_tile, tile_paths
from training.study.protocols.recolour import LABORATORIES

LABORATORY = LABORATORIES["stains of monuseg, sharpened"]
EDGE = 700


@pytest.fixture(scope="module")
def recoloured(bm_graz, tmp_path_factory):
    """The middles of four tiles, recoloured, as PNG files."""
    folder = tmp_path_factory.mktemp("recoloured")
    for path in tile_paths(bm_graz / "tiles")[::3]:
        middle = np.ascontiguousarray(read_tile(path)[200 : 200 + EDGE, 200 : 200 + EDGE])
        (folder / f"{path.stem}.png").write_bytes(encoded(LABORATORY.recolour(middle)))
    return folder


@pytest.fixture(scope="module")
def adapted(recoloured, shipped_bundle, tmp_path_factory):
    target = tmp_path_factory.mktemp("bundles") / "ours"
    return adapt(tile_paths(recoloured), load_bundle(shipped_bundle, 1), target, mpp=None, track=iter), target


def serious(flags):
    return {code: number for code, number in flags.items() if code not in HARMLESS}


def test_flags_of_another_laboratory_are_gone(adapted):
    result, _ = adapted
    assert serious(result.before.flags)
    assert not serious(result.after.flags)
    assert result.after.counts.sum() > 1.2 * result.before.counts.sum()  # most cells were outliers before


def test_networks_and_clusters_stay(adapted, shipped_bundle):
    result, target = adapted
    source = load_bundle(shipped_bundle, 1).manifest
    bundle = load_bundle(target, 1)
    assert bundle.manifest == result.manifest
    kept = ("files", "image_level", "architecture", "q_calibration", "training", "mpp")
    assert all(getattr(bundle.manifest, name) == getattr(source, name) for name in kept)
    assert bundle.manifest.adaptation.source_sha256 == load_bundle(shipped_bundle, 1).sha256
    assert (bundle.manifest.name, bundle.manifest.version) == ("ours", "1")


def test_tissue_that_is_no_marrow_gets_no_label_by_being_adapted_to(shipped_bundle, bm_graz, tmp_path):
    colon = bm_graz.parent / "consep" / "tiles"
    if not colon.is_dir():
        pytest.skip("consep is not among the public data")
    source = load_bundle(shipped_bundle, 1)
    tiles = []
    for path in tile_paths(colon)[:3]:
        tiles.append(tmp_path / path.name)
        tiles[-1].write_bytes(encoded(np.ascontiguousarray(read_tile(path)[:600, :600])))
    result = adapt(tiles, source, tmp_path / "colon", mpp=0.25, track=iter)
    assert any("unlike marrow" in sentence for sentence in result.warnings)
    assert result.manifest.outliers == source.manifest.outliers
    assert set(result.after.labels) == {"indeterminate"}


def test_few_tiles_and_tiles_that_are_alike_are_warned_of(adapted):
    result, _ = adapted
    assert any(sentence.startswith("4 tiles are few") for sentence in result.warnings)


def test_command_adapts_to_a_slide_and_writes_the_next_version_and_its_report(
    adapted, recoloured, shipped_bundle, tmp_path, monkeypatch
):
    _, target = adapted
    monkeypatch.setenv("MARROWSCOPE_BUNDLES_DIR", str(shipped_bundle.parent))
    monkeypatch.setenv("MARROWSCOPE_TAUGHT_DIR", str(target.parent))
    page = tmp_path / "page.html"
    # A slide, from which four tiles are cut.
    pixels = np.concatenate([read_tile(path) for path in tile_paths(recoloured)])
    slide = write_pyramid(tmp_path / "slide.tif", pixels, compression="deflate")
    result = run("bundle", "adapt", slide, "--name", "ours", "--report", page)
    assert "ours 2, adapted to 4 tiles" in result.stdout
    assert json.loads((target / "manifest.json").read_text())["version"] == "2"
    text = page.read_text()
    assert "Recoloured" in text
    assert "For Research Use Only" in text
    assert "http" not in text.replace("http-equiv", "")


def test_names_in_a_report_are_text(adapted):
    result, _ = adapted
    text = write_report(result).decode()
    assert "<script" not in text
    assert text.count("data:image/png") == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [("Ours!", "no name for a bundle"), ("marrow", "was not adapted from marrow")],
)
def test_name_that_cannot_be_had_is_refused(name, message, shipped_bundle, recoloured):
    source = load_bundle(shipped_bundle, 1)
    with pytest.raises(InvalidParameter, match=message):
        adapt(tile_paths(recoloured), source, shipped_bundle.parent / name, mpp=None, track=iter)


def test_adapted_bundle_is_not_adapted_again(adapted, recoloured, tmp_path):
    _, target = adapted
    with pytest.raises(InvalidBundle, match="adapt marrow instead"):
        adapt(tile_paths(recoloured), load_bundle(target, 1), tmp_path / "third", mpp=None, track=iter)


def test_tiles_that_show_nothing_are_refused(shipped_bundle, tmp_path):
    white = np.full((300, 300, 3), 255, np.uint8)
    tiles = [tmp_path / f"{i}.png" for i in range(3)]
    for path in tiles:
        path.write_bytes(encoded(white))
    source = load_bundle(shipped_bundle, 1)
    with pytest.raises(UnsuitableTiles, match="cannot be distinguished"):
        adapt(tiles, source, tmp_path / "white", mpp=None, track=iter)
    with pytest.raises(UnsuitableTiles, match="At least 3 tiles"):
        adapt(tiles[:2], source, tmp_path / "white", mpp=None, track=iter)
    assert not (tmp_path / "white").exists()


def test_folder_without_tiles_is_a_wrong_argument(tmp_path):
    assert "tile" in usage_error("bundle", "adapt", tmp_path, "--name", "ours")


def test_tile_that_cannot_be_read_is_named(recoloured, tmp_path, shipped_bundle, monkeypatch):
    monkeypatch.setenv("MARROWSCOPE_BUNDLES_DIR", str(shipped_bundle.parent))
    monkeypatch.setenv("MARROWSCOPE_TAUGHT_DIR", str(tmp_path / "taught"))
    (tmp_path / "text.png").write_text("no picture")
    found = run("bundle", "adapt", recoloured, tmp_path / "text.png", "--name", "ours", status=1)
    assert "text.png" in found.stderr
    assert not (tmp_path / "taught" / "ours").exists()


def test_recoloured_tile_is_analysed_with_the_adapted_bundle(adapted, recoloured):
    _, target = adapted
    data = tile_paths(recoloured)[0].read_bytes()
    found = analyse(data, load_bundle(target, 1), max_pixels=10**7)
    assert found.label.value in {"normal", "abnormal", "indeterminate"}
    assert not any(flag.prevents_label for flag in found.quality.flags)
