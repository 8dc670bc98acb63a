import gzip
import html
import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
import tifffile

from app.answer import present
from app.answer.present import Result
from app.answer.schemas import QualityOut
from app.batch.summary import SlideSummary
from app.pipeline.run import analyse
from tests.batch.one_slide import MAX_PIXELS, prepared, small_tiles
from tests.batch.read.drawn_slides import drawn_pixels, write_striped
from tests.descriptions import described
from tests.drawing import encoded

REGIONS = {"left": shapely.box(0, 0, 300, 500), "middle": shapely.box(200, 150, 400, 350)}
FILES = {
    "cells.parquet",
    "cells.geojson",
    "summary.json",
    "density.tif",
    "overview.jpg",
    "report.html",
    "tissue.png",
    "novelty.png",
    "novelty.tif",
}


def summary_of(folder) -> SlideSummary:
    return SlideSummary.model_validate_json((folder / "summary.json").read_bytes())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def slide(tmp_path_factory, bundle):
    """A slide of four tiles and two regions that overlap; only these are analysed."""
    folder = tmp_path_factory.mktemp("slide")
    pixels = np.tile(drawn_pixels(300, 250), (2, 2, 1))
    features = [
        {"type": "Feature", "geometry": shapely.geometry.mapping(area), "properties": {"name": name}}
        for name, area in REGIONS.items()
    ]
    click = {"type": "Polygon", "coordinates": [[[5, 5], [6, 6]]]}
    features.append({"type": "Feature", "geometry": click, "properties": {"name": "a <click>"}})
    (folder / "r.geojson").write_text(json.dumps(features))
    path = write_striped(folder / "a.tif", pixels, 0.25)
    with pytest.MonkeyPatch.context() as patch:
        small_tiles(patch)
        return prepared(folder / "run", path, bundle, regions=folder / "r.geojson").analyse()


@pytest.fixture(scope="module")
def written(slide):
    return slide.write()


def test_folder_holds_whole_files_and_nothing_else(slide, written):
    densities = {f"density-{k}.png" for k in range(slide.bundle.manifest.n_clusters)}
    assert contents(written).keys() == FILES | densities
    assert all(contents(written).values())


def test_summary_says_what_sets_each_cluster_apart_once(slide):
    """Not in each region again, of which there may be hundreds."""
    summary = summary_of(replace(slide, bundle=described(slide.bundle)).write())
    slide.write()
    assert [cluster.description.sentence for cluster in summary.clusters] == [
        f"Large nuclei of {20 + k}." for k in range(5)
    ]
    assert {cluster.description for region in summary.regions for cluster in region.clusters} == {None}


def test_same_cells_are_the_same_bytes(slide, written):
    before = contents(written)
    assert contents(slide.write()) == before


def test_parquet_geojson_and_summary_agree(slide, written):
    table, summary = pq.read_table(written / "cells.parquet"), summary_of(written)
    geojson = json.loads((written / "cells.geojson").read_bytes())
    cells = [one for one in geojson["features"] if one["properties"]["objectType"] == "detection"]
    drawn = [one for one in geojson["features"] if one["properties"]["objectType"] == "annotation"]
    assert len(table) == len(cells) == summary.cells > 50
    assert table["id"].to_pylist() == list(range(len(table)))
    assert [cell["properties"]["measurements"]["Cell id"] for cell in cells] == table["id"].to_pylist()
    assert [one["properties"]["name"] for one in drawn] == [one.name for one in summary.regions] == list(REGIONS)
    assert len({feature["id"] for feature in geojson["features"]}) == len(cells) + len(drawn)
    assert geojson["label"] == summary.label.model_dump(mode="json")
    clusters, outlier = (table[name].to_numpy(zero_copy_only=False) for name in ("cluster", "outlier"))
    counts = np.bincount(clusters[~outlier], minlength=len(summary.clusters))
    assert counts.tolist() == [cluster.count for cluster in summary.clusters]
    assert outlier.sum() == summary.outliers.count


def test_summary_and_report_say_what_was_drawn_and_is_no_region(written):
    sentence = "Skipped 'a <click>': its coordinates make no polygon."
    assert summary_of(written).regions_skipped == [sentence]
    assert sentence in html.unescape((written / "report.html").read_text(encoding="utf-8"))


def test_every_result_says_what_found_the_nuclei(written, bundle):
    found = summary_of(written).segmentation
    preset = bundle.manifest.segmentation.preset
    assert (found.source, found.method, found.version) == ("bundle", preset, f"marrow {bundle.manifest.version}")
    assert json.loads((written / "cells.geojson").read_bytes())["segmentation"] == found.model_dump()
    about = json.loads(pq.read_schema(written / "cells.parquet").metadata[b"marrowscope"])
    assert {name: about[f"segmentation_{name}"] for name in ("source", "method", "version")} == found.model_dump()
    assert f"found by the bundle, preset {preset}" in (written / "report.html").read_text()


def test_outlines_of_both_files_are_the_same(written):
    table = pq.read_table(written / "cells.parquet")
    geojson = json.loads((written / "cells.geojson").read_bytes())
    outlines = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    features = [one["geometry"] for one in geojson["features"] if one["properties"]["objectType"] == "detection"]
    others = [shapely.geometry.shape(geometry) for geometry in features]
    assert max(shapely.hausdorff_distance(outlines, others)) < 0.02


def test_cells_of_a_region_are_those_that_it_contains(written):
    table, summary = pq.read_table(written / "cells.parquet"), summary_of(written)
    middles = shapely.centroid(shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False)))
    names = table["regions"].to_pylist()
    inside = {name: shapely.covers(area, middles) for name, area in REGIONS.items()}
    for region in summary.regions:
        assert region.cells == inside[region.name].sum() > 0
        assert inside[region.name].tolist() == [region.name in (text or "").split("; ") for text in names]
    assert summary.cells == np.any(list(inside.values()), axis=0).sum() == len(table)
    assert 0 < summary.regions[0].tissue_mm2 < summary.tissue_mm2 < sum(one.tissue_mm2 for one in summary.regions)


def test_every_region_has_its_own_tissue_and_measurements(written):
    summary, features = summary_of(written), json.loads((written / "cells.geojson").read_bytes())
    assert features["tissue"] == summary.tissue.model_dump(mode="json")
    for region, area in zip(summary.regions, REGIONS.values(), strict=True):
        assert region.tissue.area_mm2 == pytest.approx(area.area * 0.25**2 / 1e6, rel=0.02)
        assert region.tissue.cellularity is not None
        inside = [region.name in (names or "").split("; ") for names in cells_column(written, "regions")]
        counted = np.array(inside) & ~np.array(cells_column(written, "outlier"))
        contrast = np.array(cells_column(written, "chromatin_contrast"))[counted]
        found = next(one for one in region.measurements if one.measurement == "chromatin_contrast")
        assert (found.n, found.median) == (counted.sum(), pytest.approx(np.median(contrast), abs=1e-5))
        assert region.means["chromatin_contrast"] == pytest.approx(contrast.mean(), abs=1e-5)


def cells_column(folder, name) -> list:
    return pq.read_table(folder / "cells.parquet")[name].to_pylist()


def test_density_holds_every_cell_of_a_cluster(slide, written):
    summary = summary_of(written)
    maps = tifffile.imread(written / "density.tif")
    assert maps.shape[0] == len(summary.clusters)
    # Boxes of 100 µm on 600 x 500 px: the slide's border cuts the last ones.
    area_mm2 = np.outer([400, 100], [400, 200]) * slide.plan.um_per_px**2 / 1e6
    counts = (maps * area_mm2).sum(axis=(1, 2))
    assert np.rint(counts).astype(int).tolist() == [cluster.count for cluster in summary.clusters]


def test_map_of_a_measurement_holds_its_mean_over_the_counted_cells_of_each_box(tmp_path, slide, written, bundle):
    name = "chromatin_contrast"
    again = prepared(tmp_path / "run", written.parents[2] / "a.tif", bundle, map_of=name).analyse().write()
    assert contents(again).keys() == contents(written).keys() | {f"map-{name}.png", f"map-{name}.tif"}
    with tifffile.TiffFile(again / f"map-{name}.tif") as tif:
        assert (tif.pages[0].description, len(tif.pages)) == (f"mean {name}", 1)
        means = tif.asarray()
    table = pq.read_table(again / "cells.parquet")
    x, y, outlier, values = (table[column].to_numpy() for column in ("x", "y", "outlier", name))
    assert means.shape == (2, 2)
    for (row, column), mean in np.ndenumerate(means):
        inside = (x // 400 == column) & (y // 400 == row) & ~outlier
        assert mean == pytest.approx(values[inside].mean(), rel=1e-4)
    report = (again / "report.html").read_text(encoding="utf-8")
    assert "Chromatin contrast, fine" in report
    assert f"map-{name}.tif" in report


def test_gzipped_geojson_is_the_same(tmp_path, slide, written, bundle, monkeypatch):
    small_tiles(monkeypatch)
    (tmp_path / "r.geojson").write_bytes((written.parents[2] / "r.geojson").read_bytes())
    path = written.parents[2] / "a.tif"
    packed = prepared(tmp_path / "run", path, bundle, regions=tmp_path / "r.geojson", gzip=True).analyse().write()
    assert gzip.decompress((packed / "cells.geojson.gz").read_bytes()) == (written / "cells.geojson").read_bytes()
    assert not (packed / "cells.geojson").exists()
    assert "cells.geojson.gz" in (packed / "report.html").read_text(encoding="utf-8")


def test_slide_of_one_tile_has_the_results_of_an_upload(tmp_path, sample, bundle):
    (tmp_path / "sample.png").write_bytes(sample)
    summary = summary_of(prepared(tmp_path / "run", tmp_path / "sample.png", bundle, mpp=0.25).analyse().write())
    analysis = analyse(sample, bundle, max_pixels=MAX_PIXELS, mpp=0.25)
    manifest = bundle.manifest
    assert summary.cells == len(analysis.cells.areas_px)
    assert summary.quality == QualityOut.model_validate(analysis.quality)
    assert summary.label == present.label_out(analysis.label, analysis.proportions, manifest)
    assert summary.clusters == present.clusters_out(analysis.proportions, analysis.label, manifest)
    assert summary.outliers == present.outliers_out(analysis.proportions)
    answer = Result(analysis, bundle, "0" * 32)
    assert summary.measurements == answer.measurements
    assert summary.tissue == answer.tissue
    found, expected = summary.very_large_nuclei, answer.very_large_nuclei
    assert [(one.cells[0], one.equivalent_diameter_um) for one in found.nuclei] == [
        (one.cells[0], one.equivalent_diameter_um) for one in expected.nuclei
    ]
    assert found.count == expected.count
    assert (summary.tiles, summary.regions, summary.patient) == (1, [], "P-1")


def nothing_found(folder, bundle, pixels, **options):
    (folder / "a.png").write_bytes(encoded(pixels))
    written = prepared(folder / "run", folder / "a.png", bundle, **options).analyse().write()
    assert pq.read_table(written / "cells.parquet").num_rows == 0
    features = json.loads((written / "cells.geojson").read_bytes())["features"]
    assert all(feature["properties"]["objectType"] == "annotation" for feature in features)
    assert (tifffile.imread(written / "density.tif") == 0).all()
    summary = summary_of(written)
    assert (summary.cells, summary.label.value) == (0, "indeterminate")
    assert all(cluster.proportion is None for cluster in summary.clusters)
    assert summary.label.reason in html.unescape((written / "report.html").read_text(encoding="utf-8"))
    return summary


def test_grey_slide_has_no_cells_for_a_reason(tmp_path, bundle):
    summary = nothing_found(tmp_path, bundle, np.full((300, 400, 3), 120, np.uint8))
    assert summary.tiles == 0
    assert "Haematoxylin and eosin cannot be distinguished" in summary.label.reason


def test_region_without_a_nucleus_has_no_label_for_a_reason(tmp_path, bundle):
    between = {"type": "Polygon", "coordinates": [[[0, 0], [8, 0], [8, 8], [0, 8], [0, 0]]]}
    (tmp_path / "r.json").write_text(json.dumps({"type": "Feature", "geometry": between, "properties": {}}))
    summary = nothing_found(tmp_path, bundle, drawn_pixels(300, 200), regions=tmp_path / "r.json")
    assert (summary.tiles, [region.cells for region in summary.regions]) == (1, [0])
    assert summary.label.reason.startswith("No cell was counted")


def test_cluster_without_cells_has_null_where_there_is_nothing(tmp_path, bundle):
    (tmp_path / "a.png").write_bytes(encoded(drawn_pixels(240, 200)))
    written = prepared(tmp_path / "run", tmp_path / "a.png", bundle).analyse().write()
    summary = summary_of(written)
    empty = [cluster.cluster for cluster in summary.clusters if cluster.count == 0]
    assert empty
    table = pq.read_table(written / "cells.parquet")
    for k in empty:
        assert table[f"nearest_um_{k}"].null_count == len(table)
        assert all(pair.median_um is None for pair in summary.neighbours if k in (pair.cluster, pair.other))
        assert summary.islands[k].share is None
        assert (written / f"density-{k}.png").stat().st_size > 0
