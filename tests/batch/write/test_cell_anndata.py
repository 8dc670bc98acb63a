"""The cells of a slide as AnnData, read back with the library itself."""

from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.batch.summary import read_summary
from app.batch.write.cell_table import measured_columns
from tests.batch.one_slide import prepared, small_tiles
from tests.batch.read.drawn_slides import drawn_pixels, write_striped

anndata = pytest.importorskip("anndata")
cell_anndata = pytest.importorskip("app.batch.write.cell_anndata")
PICTURE = np.zeros((4, 4, 3), np.uint8)


def slide_of(folder, bundle, name):
    pixels = np.tile(drawn_pixels(300, 250), (2, 2, 1))
    path = write_striped(folder / f"{name}.tif", pixels, 0.25)
    with pytest.MonkeyPatch.context() as patch:
        small_tiles(patch)
        return prepared(folder / f"run-{name}", path, bundle, anndata=True).analyse()


@pytest.fixture(scope="module")
def slide(tmp_path_factory, bundle):
    return slide_of(tmp_path_factory.mktemp("slides"), bundle, "größe")


@pytest.fixture(scope="module")
def written(slide):
    return slide.write()


def test_file_holds_the_cells_of_the_table(slide, written):
    cells, table = anndata.read_h5ad(written / "cells.h5ad"), pq.read_table(written / "cells.parquet")
    assert cells.n_obs == len(table) > 10
    assert list(cells.obs_names[:2]) == ["größe-0", "größe-1"]
    np.testing.assert_array_equal(cells.X, np.array(table["features"].to_pylist(), np.float32))
    assert list(cells.var_names[:2]) == ["feature_0", "feature_1"]
    np.testing.assert_array_equal(cells.obsm["spatial"], np.column_stack([table["x"], table["y"]]))
    np.testing.assert_allclose(cells.obsm["spatial_um"], cells.obsm["spatial"] * 0.25)
    assert list(cells.obs["cluster"].cat.categories) == ["0", "1", "2", "3", "4"]
    np.testing.assert_array_equal(cells.obs["cluster"].astype(int), table["cluster"])
    assert set(cells.obs["slide"]) == {"größe"}
    assert set(cells.obs["patient"]) == {"P-1"}
    for name in measured_columns(scale_known=True):
        np.testing.assert_array_equal(cells.obs[name], table[name].to_numpy())


def test_file_says_where_its_cells_come_from_and_holds_a_picture(slide, written):
    uns, summary = anndata.read_h5ad(written / "cells.h5ad").uns, read_summary(written / "summary.json")
    about, manifest = uns["marrowscope"], slide.bundle.manifest
    assert (about["bundle"], about["bundle_version"]) == (manifest.name, manifest.version)
    assert about["bundle_sha256"] == slide.bundle.sha256
    assert "Research Use Only" in about["notice"]
    assert (about["library_id"], about["spatial_unit"]) == ("größe", "px of level 0")
    library = uns["spatial"]["größe"]
    height, width = library["images"]["hires"].shape[:2]
    scale = library["scalefactors"]["tissue_hires_scalef"]
    assert (summary.width * scale, summary.height * scale) == (
        pytest.approx(width, abs=1),
        pytest.approx(height, abs=1),
    )
    assert summary.files["cells.h5ad"] == (written / "cells.h5ad").stat().st_size


def test_same_cells_are_the_same_bytes(slide, written):
    before = (written / "cells.h5ad").read_bytes()
    slide.write()
    assert (written / "cells.h5ad").read_bytes() == before


def test_files_of_slides_can_be_put_together_on_disk(slide, written, bundle, tmp_path):
    other = slide_of(tmp_path, bundle, "b").write()
    parts = [written / "cells.h5ad", other / "cells.h5ad"]
    both = anndata.concat([anndata.read_h5ad(part) for part in parts], uns_merge="unique")
    assert both.obs_names.is_unique
    assert set(both.obs["slide"]) == {"größe", "b"}
    assert both.uns["spatial"].keys() == {"größe", "b"}
    anndata.experimental.concat_on_disk(parts, tmp_path / "both.h5ad", uns_merge="unique")
    assert anndata.read_h5ad(tmp_path / "both.h5ad").n_obs == both.n_obs


def test_without_features_x_holds_the_measurements(slide, written, tmp_path):
    bare = SimpleNamespace(n_features=0, n_clusters=5, cluster_names=None, cell_classifier=None)
    summary = read_summary(written / "summary.json")
    cell_anndata.write_anndata(written / "cells.parquet", tmp_path / "c.h5ad", summary, bare, PICTURE, 8.0)
    cells = anndata.read_h5ad(tmp_path / "c.h5ad")
    assert list(cells.var_names) == list(measured_columns(scale_known=True))
    np.testing.assert_array_equal(cells[:, "perimeter_um"].X[:, 0], cells.obs["perimeter_um"])


def test_table_without_cells_gives_an_empty_file(slide, written, tmp_path):
    manifest, summary = slide.bundle.manifest, read_summary(written / "summary.json")
    pq.write_table(pq.read_table(written / "cells.parquet").slice(0, 0), tmp_path / "none.parquet")
    cell_anndata.write_anndata(tmp_path / "none.parquet", tmp_path / "c.h5ad", summary, manifest, PICTURE, 8.0)
    cells = anndata.read_h5ad(tmp_path / "c.h5ad")
    assert (cells.n_obs, cells.n_vars) == (0, manifest.n_features)


def test_disk_that_takes_no_more_leaves_the_file_that_was_there(slide, written, tmp_path):
    resource = pytest.importorskip("resource")
    (tmp_path / "c.h5ad").write_bytes(b"before")
    cells, summary = written / "cells.parquet", read_summary(written / "summary.json")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"^\[Errno \d+\] File too large: '.*c.h5ad'$"):
            cell_anndata.write_anndata(cells, tmp_path / "c.h5ad", summary, slide.bundle.manifest, PICTURE, 8.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("c.h5ad", b"before")]
