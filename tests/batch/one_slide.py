"""A batch of one slide, run step by step in this process."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from app.answer.schemas import QualityOut
from app.batch.analyse.cells import kept_cells, kept_rows, write_tile
from app.batch.analyse.tile import analyse_tile
from app.batch.folder import BatchFolder, BatchManifest, BatchSlide
from app.batch.plan import grid
from app.batch.plan.inputs import inputs_of
from app.batch.plan.plan import Plan
from app.batch.plan.prepare import prepare
from app.batch.plan.tissue import write_overview
from app.batch.read.open import open_slide
from app.batch.read.slide import whole_canvas
from app.batch.run.resume import begin_or_resume
from app.batch.summary import SlideInputs
from app.batch.write.geojson import write_slide_geojson
from app.batch.write.slide_results import publish_summary, write_slide
from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import crop_cells
from app.pipeline.networks.encode import encode
from app.pipeline.nuclei.border import drop_cut_nuclei
from app.pipeline.nuclei.segment import segment
from app.pipeline.stain.unmix import unmix

MAX_PIXELS = 9_000_000
SMALL_TILE_PX = 304
INPUTS = SlideInputs(
    slide="a",
    file="a.svs",
    bytes=1,
    fingerprint="0" * 64,
    regions_sha256=None,
    patient=None,
    bundle_sha256="0" * 64,
    code_version="0.1.0",
    precision="fast",
    mpp=None,
    frame="bounds",
    max_pixels=MAX_PIXELS,
)
PLAN = Plan(
    slide="a",
    file="a.svs",
    bytes=1,
    fingerprint="0" * 64,
    width=300,
    height=100,
    frame=whole_canvas(300, 100),
    mpp=0.25,
    mpp_source="request",
    um_per_px=0.25,
    downsample=1.0,
    overview_px=32,
    tissue_mm2=1.0,
    tile_px=100,
    margin_px=20,
    tiles=((0, 0), (100, 0), (200, 0)),
    regions=(),
    stain=None,
    quality=QualityOut(focus=1, stain_distance=None, tissue_fraction=1, flags=[]),
    inputs=INPUTS,
)
"""The plan of a slide of three tiles that does not exist."""


@dataclass(frozen=True)
class OneSlide:
    """A batch of one slide that has its plan."""

    folder: BatchFolder
    batch: BatchManifest
    source: BatchSlide
    bundle: Bundle
    plan: Plan

    def analyse(self) -> "OneSlide":
        """Write the cells of all tiles."""
        with closing(open_slide(Path(self.source.path), MAX_PIXELS, self.batch.frame)) as slide:
            for number in range(len(self.plan.tiles)):
                at = self.folder.nuclei(self.source.slide)
                cells = analyse_tile(slide, self.plan, number, self.bundle, self.batch.precision, at)
                write_tile(cells, self.folder.tile(self.source.slide, number), self.plan.inputs.sha256)
        return self

    def write(self) -> Path:
        """Write the results, and return their folder."""
        with closing(open_slide(Path(self.source.path), MAX_PIXELS, self.batch.frame)) as slide:
            write_slide(slide, self.source, self.folder, self.bundle, self.batch)
        write_slide_geojson(self.source.slide, self.folder, self.bundle, self.batch)
        publish_summary(self.folder, self.plan.inputs, self.batch)
        return self.folder.results(self.source.slide)

    def cells(self) -> dict[str, np.ndarray]:
        """Return the columns of the cells that are kept, in reading order of their centroids."""
        every = pa.concat_tables(kept_cells(self.folder, self.plan, kept_rows(self.folder, self.plan)))
        columns = {name: every[name].to_numpy() for name in every.column_names}
        order = np.lexsort([columns["x"], columns["y"]])
        return {name: column[order] for name, column in columns.items()}


def small_tiles(monkeypatch) -> None:
    """Let even a small slide have several tiles; its stain is still measured on all of it."""
    monkeypatch.setattr(grid, "TILE_PX", SMALL_TILE_PX)
    monkeypatch.setattr(grid, "ONE_TILE_PX", 1)


def source_and_batch(
    path, bundle, *, mpp=None, frame="bounds", regions=None, nuclei=None, gzip=False, map_of=None, **written
) -> tuple[BatchSlide, BatchManifest]:
    """Return a slide and the manifest of a batch that has no other slide."""
    source = BatchSlide(
        slide=path.stem, path=str(path), regions=regions and str(regions), nuclei=nuclei and str(nuclei), patient="P-1"
    )
    batch = BatchManifest(
        bundle=bundle.manifest.name,
        bundle_sha256=bundle.sha256,
        bundles_dir="/models",
        code_version="0.1.0",
        precision="fast",
        mpp=mpp,
        frame=frame,
        max_pixels=MAX_PIXELS,
        gzip=gzip,
        map=map_of,
        **written,
        slides=(source,),
    )
    return source, batch


def prepared(path_of_batch, path, bundle, **options) -> OneSlide:
    """Begin a batch of one slide, and write the plan of the slide."""
    source, batch = source_and_batch(path, bundle, **options)
    folder = BatchFolder(path_of_batch)
    begin_or_resume(folder, batch)
    with closing(open_slide(path, MAX_PIXELS, batch.frame)) as slide:
        plan, overview = prepare(slide, inputs_of(source, batch), source, batch, bundle, folder.nuclei(source.slide))
    write_overview(overview, folder.overview(source.slide))
    folder.plan(source.slide).write_text(plan.model_dump_json())
    return OneSlide(folder, batch, source, bundle, plan)


def analysed_whole(pixels, plan: Plan, bundle: Bundle) -> dict[str, np.ndarray]:
    """Return the cells of a picture at the bundle's scale that is not cut into tiles, with the stain of the plan."""
    params = bundle.manifest.segmentation
    stains = unmix(pixels, params.stain, params.engine, plan.stain.estimate())
    nuclei = drop_cut_nuclei(segment(stains, params, bundle.segmenter))
    manifest = bundle.manifest
    crops = crop_cells(stains.normalised, nuclei, manifest.architecture.crops)
    encoded = encode(crops, bundle.backend, manifest.n_clusters, "fast", manifest.temperature)
    centroids = nuclei.centroids.round(3)
    order = np.lexsort([centroids[:, 0], centroids[:, 1]])
    return {
        "x": centroids[order, 0],
        "y": centroids[order, 1],
        "area_px": nuclei.areas_px[order],
        "touches_border": nuclei.touches_border[order],
        "probs": encoded.cluster_probs[order],
        "features": encoded.features[order],
        "outlier": (encoded.surprise > bundle.manifest.outliers.threshold)[order],
    }


def probabilities(cells: dict[str, np.ndarray]) -> np.ndarray:
    return np.column_stack([column for name, column in cells.items() if name[0] == "p" and name[1:].isdigit()])


def outlines(cells: dict[str, np.ndarray]) -> np.ndarray:
    return shapely.from_wkb(cells["geometry"])
