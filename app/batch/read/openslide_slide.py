"""Slides that OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, DICOM and others."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from openslide import OpenSlide, OpenSlideError
from PIL import Image

from app.batch.read.resampling import Box, read_window
from app.batch.read.slide import MAX_BLOCK_PIXELS, SlideError, Window, mean_mpp
from app.pipeline.types import UInt8Array

SERIES = "dicom.SeriesInstanceUID"


class OpenSlideSlide:
    """A slide that is read with OpenSlide.

    Raises:
        SlideError: OpenSlide knows the format but cannot open the file, or the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._slide = _open(path)
        self._sizes = self._slide.level_dimensions
        self._check_tiles()
        self.width, self.height = self._sizes[0]
        self.mpp = mean_mpp(_number(self._slide.properties.get(f"openslide.mpp-{axis}")) for axis in "xy")

    def read(self, window: Window, downsample: float = 1.0) -> UInt8Array:
        """Read a part of the slide, as `app.batch.read.slide.Slide` describes."""
        try:
            return read_window(self._sizes, window, downsample, self._read_level)
        except OpenSlideError as error:
            # A handle that failed once cannot be used again.
            self._slide.close()
            self._slide = _open(self._path)
            reason = _reason(error, self._path)
            raise SlideError(f"The slide is damaged near x {window.x}, y {window.y}: {reason}.") from error

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def _check_tiles(self) -> None:
        """Refuse huge tiles: only a damaged file has them, and too little memory for one would end the process."""
        for level in range(len(self._sizes)):
            sides = [
                self._slide.properties.get(f"openslide.level[{level}].tile-{side}") for side in ("width", "height")
            ]
            width, height = (int(_number(side) or 0) for side in sides)
            if width * height > MAX_BLOCK_PIXELS:
                self._slide.close()
                raise SlideError(f"A tile may have at most {MAX_BLOCK_PIXELS} pixels, found {width} x {height}.")

    def _read_level(self, level: int, box: Box) -> UInt8Array:
        # OpenSlide takes the corner in px of level 0, and divides it by its own mean of both directions.
        downsample = self._slide.level_downsamples[level]
        corner = (round(box.x0 * downsample), round(box.y0 * downsample))
        region = self._slide.read_region(corner, level, (box.x1 - box.x0, box.y1 - box.y0))
        if region.getchannel("A").getextrema() != (255, 255):
            region = Image.alpha_composite(Image.new("RGBA", region.size, (255, 255, 255, 255)), region)
        return np.asarray(cv2.cvtColor(np.asarray(region), cv2.COLOR_RGBA2RGB), dtype=np.uint8)


def vendor_of(path: Path) -> str | None:
    """Return OpenSlide's name for the format of a file, such as "aperio"; None if OpenSlide does not know it."""
    found: str | None = OpenSlide.detect_format(path)
    return found


def dicom_file(folder: Path) -> Path:
    """Return a file of the DICOM slide in a folder; OpenSlide finds the other files of its series beside it.

    Raises:
        SlideError: the folder holds no DICOM slide, or several.
    """
    files = [path for path in sorted(folder.glob("[!.]*.[dD][cC][mM]")) if vendor_of(path) == "dicom"]
    if not files:
        raise SlideError("It is a folder without a DICOM slide (*.dcm).")
    series = set()
    for path in files:
        slide = _open(path)
        series.add(slide.properties.get(SERIES))
        slide.close()
    if len(series) > 1:
        raise SlideError(f"A folder must hold one DICOM slide, found {len(series)}; name one file of each instead.")
    return files[0]


def _open(path: Path) -> OpenSlide:
    try:
        return OpenSlide(path)
    except OpenSlideError as error:
        raise SlideError(f"OpenSlide cannot open it: {_reason(error, path)}.") from error


def _reason(error: OpenSlideError, path: Path) -> str:
    """Return the message of OpenSlide without the folder that the slide is in."""
    return str(error).replace(f"{path.parent}{os.sep}", "").rstrip(".")


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
