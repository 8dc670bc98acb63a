"""Cut the cells out of tiles, with the pipeline that serves, and keep them in `cells.npz`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from pydantic import TypeAdapter

from app.files import whole_file, write_whole
from app.pipeline.crops import crop_cells
from app.pipeline.manifest import segmenter_files
from app.pipeline.measure.cells import measure_cells
from app.pipeline.nuclei.border import cut_by_more_than_half
from app.pipeline.nuclei.measure import select_nuclei
from app.pipeline.nuclei.network import MapNetwork
from app.pipeline.nuclei.segment import segment
from app.pipeline.presets import LEARNED, Appearance, SegmentationParams
from app.pipeline.quality.measure import measure_focus
from app.pipeline.quality.reference import ORDINARY_JPEG, Views, jpeg, measure_views, stack_views
from app.pipeline.stain.transfer import measure_appearance, sample_tissue
from app.pipeline.stain.unmix import unmix
from app.pipeline.tissue.compose import compose
from app.pipeline.types import BoolArray, Float64Array, Int64Array, UInt8Array
from training.cells.tile_files import read_tile
from training.cells.tile_labels import TileLabels, check_enough
from training.cells.unlabelled import CUT, UnlabelledCells, check_channels
from training.errors import DataError

CELLS = "cells.npz"
APPEARANCE: TypeAdapter[Appearance | None] = TypeAdapter(Appearance | None)


@dataclass(frozen=True)
class Cells:
    """The cells of a set of T tiles.

    Attributes:
        crops: (N, 32, 32, 7) uint8, each nucleus alone and with its surroundings.
        compressed: (N, 32, 32, 7) uint8, the same of the tiles after saving as JPEG of quality ORDINARY_JPEG; what is
            usual is also taken from these, so that an ordinary JPEG file is not unusual.
        tile_index: (N,) int64, the index into `tiles` of each cell's tile.
        centroids: (N, 2) float64, x and y in px of that tile.
        areas_px: (N,) int64, the area of each nucleus.
        measurements: (N, M) float64 in µm, NaN where one is missing; column j is MEASUREMENTS[j] of
            app.pipeline.measure.table.
        tiles: the name of each tile.
        stain_matrices: (T, 3, 2) float64, NaN for a tile in which no two stains were found.
        cellularity: (T,) float64, 0–1, NaN for a tile that has none.
        segmentation: the parameters that the nuclei were found with.
        mpp: µm per px of the tiles, at which the nuclei were measured.
        appearance: how the tiles look before normalisation; None if two stains cannot be distinguished in them.
        views: measurements on the tiles and on squares cut from them; the limits of the quality flags rest on these.
        labels: of the tiles, None if the user gave none.
    """

    crops: UInt8Array
    compressed: UInt8Array
    tile_index: Int64Array
    centroids: Float64Array
    areas_px: Int64Array
    measurements: Float64Array
    tiles: tuple[str, ...]
    stain_matrices: np.ndarray
    cellularity: Float64Array
    segmentation: SegmentationParams
    mpp: float
    appearance: Appearance | None
    views: Views
    labels: TileLabels | None = None

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.crops)

    @property
    def unlabelled(self) -> UnlabelledCells:
        """The cells without all that an unsupervised training may not learn from."""
        return UnlabelledCells(self.crops, self.tile_index, self.centroids)

    def only(self, chosen: BoolArray) -> Cells:
        """Return the cells for which the (N,) bool `chosen` is true; all tiles stay."""
        return replace(
            self,
            crops=self.crops[chosen],
            compressed=self.compressed[chosen],
            tile_index=self.tile_index[chosen],
            centroids=self.centroids[chosen],
            areas_px=self.areas_px[chosen],
            measurements=self.measurements[chosen],
        )

    @property
    def empty_tiles(self) -> tuple[str, ...]:
        """The names of the tiles without a cell."""
        present = set(self.tile_index.tolist())
        return tuple(name for i, name in enumerate(self.tiles) if i not in present)

    def same_cells(self, other: Cells) -> bool:
        """Return whether both hold the same cells of the same tiles; the labels of the tiles may differ."""
        names = ("crops", "compressed", "tile_index", "centroids", "areas_px")
        return self.tiles == other.tiles and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in names
        )

    def save(self, directory: Path) -> None:
        """Write `cells.npz` into the directory, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        labels = {} if self.labels is None else self.labels.as_arrays()
        with whole_file(directory / CELLS) as path:
            np.savez_compressed(
                path,
                crops=self.crops,
                compressed=self.compressed,
                tile_index=self.tile_index,
                centroids=self.centroids,
                areas_px=self.areas_px,
                measurements=self.measurements,
                tiles=np.array(self.tiles),
                stain_matrices=self.stain_matrices,
                cellularity=self.cellularity,
                segmentation=np.array(self.segmentation.model_dump_json()),
                mpp=self.mpp,
                appearance=np.array(APPEARANCE.dump_json(self.appearance).decode()),
                **self.views.as_arrays(),
                **labels,
            )

    @classmethod
    def load(cls, directory: Path) -> Cells:
        """Read what `save` wrote.

        Raises:
            DataError: there is no `cells.npz`, it is damaged, or another version wrote it, without what this one needs.
        """
        path = directory / CELLS
        if not path.is_file():
            raise DataError(f"{path} does not exist; make it with `python -m training cells`.")
        again = "make it anew with `python -m training cells`."
        try:
            with np.load(path, allow_pickle=False) as stored:
                cells = cls(
                    crops=stored["crops"],
                    compressed=stored["compressed"],
                    tile_index=stored["tile_index"],
                    centroids=stored["centroids"],
                    areas_px=stored["areas_px"],
                    measurements=stored["measurements"],
                    tiles=tuple(str(name) for name in stored["tiles"]),
                    stain_matrices=stored["stain_matrices"],
                    cellularity=stored["cellularity"],
                    segmentation=TypeAdapter(SegmentationParams).validate_json(str(stored["segmentation"])),
                    mpp=float(stored["mpp"]),
                    appearance=APPEARANCE.validate_json(str(stored["appearance"])),
                    views=Views.from_arrays(stored),
                    labels=TileLabels.from_arrays(stored),
                )
        except KeyError as error:
            raise DataError(f"{path} is of another version; {again}") from error
        except (BadZipFile, EOFError, ValueError, zlib.error) as error:
            raise DataError(f"{path} is damaged; {again}") from error
        check_channels(cells.crops, path, again)
        return cells


def copy_segmenter(source: Path, directory: Path) -> None:
    """Keep the network that found the nuclei with the cells that were cut with it.

    Args:
        source: directory of a run of the segmenter, or of cells that were cut with one.
        directory: where the cells are.

    Raises:
        DataError: the source has no such network.
        OSError: it cannot be written.
    """
    for name in segmenter_files(LEARNED):
        if not (source / name).is_file():
            raise DataError(f"{source} holds no {name}: it is no finished run of `segmenter`, nor cells cut with one.")
        write_whole((source / name).read_bytes(), directory / name)


def extract_cells(
    paths: list[Path],
    params: SegmentationParams,
    mpp: float,
    track: Callable[[Iterable[Path]], Iterable[Path]] = iter,
    labels: TileLabels | None = None,
    network: MapNetwork | None = None,
) -> Cells:
    """Cut the cells out of every tile, as the service does.

    Args:
        paths: the files of T tiles.
        params: segmentation parameters.
        mpp: µm per px of the tiles.
        track: wraps the paths, to show progress.
        labels: of the T tiles, in the order of `paths`.
        network: finds nuclei, if the parameters need one.

    Raises:
        DataError: a tile cannot be read or decoded, or no tile holds a nucleus.
        LabelsError: too few tiles of a label hold a nucleus.
    """
    crops, compressed, index, centroids, areas, measured = [], [], [], [], [], []
    matrices, cellularity, samples, focus, views = [], [], [], [], []
    for i, path in enumerate(track(paths)):
        pixels = read_tile(path)
        stains = unmix(pixels, params.stain, params.engine)
        found = segment(stains, params, network)
        is_kept = ~cut_by_more_than_half(found)
        nuclei = select_nuclei(found, is_kept)
        measured.append(measure_cells(stains, found, mpp).values[is_kept])
        crops.append(crop_cells(stains.normalised, nuclei, CUT))
        saved = unmix(jpeg(pixels, ORDINARY_JPEG), params.stain, params.engine)
        compressed.append(crop_cells(saved.normalised, nuclei, CUT))
        index.append(np.full(len(nuclei), i))
        centroids.append(nuclei.centroids)
        areas.append(nuclei.areas_px)
        views += measure_views(i, pixels, stains, params.stain)
        focus.append(measure_focus(pixels, stains.tissue))
        samples.append(sample_tissue(pixels, params.stain))
        matrices.append(np.full((3, 2), np.nan) if stains.stain_matrix is None else stains.stain_matrix)
        share = compose(pixels, stains, found, mpp).cellularity
        cellularity.append(np.nan if share is None else share)
    if not sum(map(len, crops)):
        raise DataError("No nucleus was found in any tile.")
    cells = Cells(
        crops=np.concatenate(crops),
        compressed=np.concatenate(compressed),
        tile_index=np.concatenate(index).astype(np.int64),
        centroids=np.concatenate(centroids),
        areas_px=np.concatenate(areas),
        measurements=np.concatenate(measured),
        tiles=tuple(path.stem for path in paths),
        stain_matrices=np.stack(matrices),
        cellularity=np.array(cellularity),
        segmentation=params,
        mpp=mpp,
        appearance=measure_appearance(samples, [value for value in focus if value is not None], params.stain),
        views=stack_views(views),
        labels=labels,
    )
    if labels is not None and (empty := ", ".join(cells.empty_tiles)):
        check_enough(labels.only(np.unique(cells.tile_index)), f"Without {empty}, where no cell was found")
    return cells
