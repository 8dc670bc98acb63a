"""Aliases of arrays, and the frozen values that pass from stage to stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.pipeline.headers.declared_scale import MppSource
from app.pipeline.headers.metadata import NOTHING, Metadata

T = TypeVar("T")

UInt8Array = NDArray[np.uint8]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

CropKind = Literal["nucleus", "surroundings"]
"""What Q sees of a cell: the nucleus alone, or what lies round it as well."""
CHANNELS: dict[CropKind, int] = {"nucleus": 3, "surroundings": 7}
"""Channels of the crops of each kind."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One decoded upload.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        sha256: hex digest of the uploaded bytes.
        mpp: µm per pixel of `pixels`, from the request or the file; None where neither says it.
        mpp_source: where `mpp` comes from.
        metadata: what the file says about the picture.
    """

    pixels: UInt8Array
    sha256: str
    mpp: float | None = None
    mpp_source: MppSource = "bundle"
    metadata: Metadata = NOTHING

    @property
    def requested_mpp(self) -> float | None:
        """µm per pixel that the request gave; None if it gave none."""
        return self.mpp if self.mpp_source == "request" else None

    @property
    def width(self) -> int:
        """Width in px."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in px."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What found the nuclei of a tile or slide.

    Attributes:
        source: whether the bundle found them, or somebody uploaded them.
        method: the preset of the bundle, or the form in which the nuclei were uploaded.
        version: name and version of the bundle, as in "marrow 8"; None where the nuclei were uploaded.
        upload_sha256: hex digest of the bytes that were uploaded; None where the bundle found the nuclei.
    """

    source: Literal["bundle", "upload"]
    method: Literal["learned", "default", "paper", "geojson", "label_image"]
    version: str | None = None
    upload_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class LabStatistics:
    """Mean and spread of colours in Ruderman's lαβ.

    Attributes:
        mean: (3,) float64.
        sd: (3,) float64 standard deviation.
    """

    mean: Float64Array
    sd: Float64Array


@dataclass(frozen=True, slots=True)
class StainEstimate:
    """What is measured on a tile, or on a slide for all its tiles, to normalise and unmix it.

    Attributes:
        lab: statistics of the pixels before normalisation.
        stain_matrix: (3, 2) float64 unit columns haematoxylin, eosin, after normalisation.
        nuclear_density: haematoxylin density, 0–255, that best separates nuclei from the rest (Otsu 1979).
    """

    lab: LabStatistics
    stain_matrix: Float64Array
    nuclear_density: float


class Later(Generic[T]):
    """A value that is made when it is first asked for, and once, whichever thread asks first.

    Args:
        make: makes the value.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] | None = make
        self._lock = Lock()

    def __call__(self) -> T:
        """Return the value."""
        with self._lock:
            if self._make is not None:
                self._value, self._make = self._make(), None
            return self._value


@dataclass(frozen=True, slots=True)
class Stain:
    """A normalised tile, and its haematoxylin. It is degenerate where two stains cannot be distinguished.

    Attributes:
        normalised: (H, W, 3) uint8, the Reinhard-normalised tile.
        tissue: (H, W) bool, the pixels that the statistics were taken of.
        stain_matrix: (3, 2) float64 unit columns haematoxylin, eosin; None when the tile is degenerate.
        separated: makes `haematoxylin` and `estimate`, which a tile whose nuclei a network finds does not always need.
    """

    normalised: UInt8Array
    tissue: BoolArray
    stain_matrix: Float64Array | None
    separated: Later[tuple[UInt8Array, StainEstimate | None]]

    @property
    def haematoxylin(self) -> UInt8Array:
        """(H, W) uint8 intensity, dark = stained; 255 everywhere when the tile is degenerate."""
        return self.separated()[0]

    @property
    def estimate(self) -> StainEstimate | None:
        """What the tile was unmixed with; None when the tile is degenerate."""
        return self.separated()[1]

    def part(self, square: tuple[slice, slice]) -> Stain:
        """Return a part of the tile, unmixed as the whole is.

        Args:
            square: rows and columns of the part.
        """
        separated = Later(lambda: (self.haematoxylin[square], self.estimate))
        return Stain(self.normalised[square], self.tissue[square], self.stain_matrix, separated)


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Segmented nuclei of a tile; row i of every array is nucleus i + 1 of `label_image`.

    Attributes:
        label_image: (H, W) int32, 0 = background, 1…N.
        centroids: (N, 2) float64 x, y in px; a pixel's index is its centre.
        bboxes: (N, 4) int64 x0, y0, x1, y1 in px, x1 and y1 exclusive.
        areas_px: (N,) int64, number of pixels.
        touches_border: (N,) bool, whether one of its pixels lies on the tile's border.
    """

    label_image: Int32Array
    centroids: Float64Array
    bboxes: Int64Array
    areas_px: Int64Array
    touches_border: BoolArray

    def __len__(self) -> int:
        """Number of nuclei."""
        return int(self.areas_px.size)
