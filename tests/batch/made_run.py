"""Slides, taken as far as a run would take them, in this process."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from app.answer.schemas import QualityOut
from app.batch.analyse.assemble import kept_parts, kept_rows
from app.batch.analyse.tile import analyse_tile, stain_estimate
from app.batch.folder import Run, RunFolder, SlideEntry
from app.batch.part_tables import write_part
from app.batch.plan import grid
from app.batch.plan.plan import Plan
from app.batch.plan.prepare import overview_bytes, prepare
from app.batch.read.open import open_slide
from app.batch.write.slide_outlines import write_outlines
from app.batch.write.slide_results import write_slide
from app.pipeline.bundle.load import Bundle
from app.pipeline.crops import crop_nuclei
from app.pipeline.networks.encode import encode
from app.pipeline.nuclei.border import drop_cut_nuclei
from app.pipeline.nuclei.segment import segment
from app.pipeline.stain.unmix import unmix

MAX_PIXELS = 9_000_000
SMALL_TILE_PX = 300
PLAN = Plan(
    slide="a",
    file="a.svs",
    bytes=1,
    fingerprint="0" * 64,
    width=300,
    height=100,
    mpp=0.25,
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
)
"""Of a slide of three tiles that nobody looks at."""


@dataclass(frozen=True)
class Begun:
    """A run of one slide."""

    at: RunFolder
    run: Run
    entry: SlideEntry
    bundle: Bundle
    plan: Plan

    def analyse(self) -> "Begun":
        """Write the parts of all tiles."""
        with closing(open_slide(Path(self.entry.path), MAX_PIXELS)) as slide:
            for number in range(len(self.plan.tiles)):
                cells = analyse_tile(slide, self.plan, number, self.bundle, self.run.precision)
                write_part(cells, self.at.part(self.entry.slide, number))
        return self

    def write(self) -> Path:
        """Write the results; their folder."""
        with closing(open_slide(Path(self.entry.path), MAX_PIXELS)) as slide:
            write_slide(slide, self.entry, self.at, self.bundle, self.run)
        write_outlines(self.entry.slide, self.at, self.bundle, self.run)
        return self.at.slide(self.entry.slide)

    def cells(self) -> dict[str, np.ndarray]:
        """Columns of the cells that are kept, in reading order of their centres."""
        every = pa.concat_tables(kept_parts(self.at, self.plan, kept_rows(self.at, self.plan)))
        columns = {name: every[name].to_numpy() for name in every.column_names}
        order = np.lexsort([columns["x"], columns["y"]])
        return {name: column[order] for name, column in columns.items()}


def small_tiles(monkeypatch) -> None:
    """Let even a small slide have several tiles; its stain is still measured on all of it."""
    monkeypatch.setattr(grid, "TILE_PX", SMALL_TILE_PX)
    monkeypatch.setattr(grid, "ONE_TILE_PX", 1)


def entry_and_run(path, bundle, *, mpp=None, regions=None, gzip=False) -> tuple[SlideEntry, Run]:
    entry = SlideEntry(slide=path.stem, path=str(path), regions=regions and str(regions), patient="P-1")
    run = Run(
        bundle=bundle.manifest.name,
        bundle_sha256=bundle.sha256,
        bundles_dir="/models",
        code_version="0.1.0",
        precision="fast",
        mpp=mpp,
        max_pixels=MAX_PIXELS,
        gzip=gzip,
        slides=(entry,),
    )
    return entry, run


def begun(folder, path, bundle, **options) -> Begun:
    """Prepare a slide in the folder of a run."""
    entry, run = entry_and_run(path, bundle, **options)
    at = RunFolder(folder)
    at.begin(run)
    at.work(entry.slide).mkdir(parents=True)
    with closing(open_slide(path, MAX_PIXELS)) as slide:
        plan, seen = prepare(slide, entry, run, bundle)
    at.overview(entry.slide).write_bytes(overview_bytes(seen))
    at.plan(entry.slide).write_text(plan.model_dump_json())
    return Begun(at, run, entry, bundle, plan)


def analysed_whole(pixels, plan: Plan, bundle: Bundle) -> dict[str, np.ndarray]:
    """The cells of a picture at the bundle's scale that is not cut into tiles, with the slide's stain."""
    params = bundle.manifest.segmentation
    stains = unmix(pixels, params.stain, params.engine, stain_estimate(plan.stain))
    nuclei = drop_cut_nuclei(segment(stains, params))
    encoded = encode(crop_nuclei(stains.normalised, nuclei), bundle.backend, bundle.manifest.n_clusters, "fast")
    centroids = nuclei.centroids.round(3)
    order = np.lexsort([centroids[:, 0], centroids[:, 1]])
    return {
        "x": centroids[order, 0],
        "y": centroids[order, 1],
        "area_px": nuclei.areas_px[order],
        "touches_border": nuclei.touches_border[order],
        "probs": encoded.cluster_probs[order],
        "outlier": (encoded.surprise > bundle.manifest.outliers.threshold)[order],
    }


def probabilities(cells: dict[str, np.ndarray]) -> np.ndarray:
    return np.column_stack([column for name, column in cells.items() if name[0] == "p" and name[1:].isdigit()])


def outlines(cells: dict[str, np.ndarray]) -> np.ndarray:
    return shapely.from_wkb(cells["geometry"])
