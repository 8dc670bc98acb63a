"""Slides that OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, DICOM and others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from openslide import OpenSlide, OpenSlideError
from PIL import Image, ImageCms
from tifffile import TiffFile

from app.batch.read.resampling import Box, read_window
from app.batch.read.slide import MAX_BLOCK_PIXELS, SlideError, Window, whole_canvas
from app.batch.read.tiff_slide import JPEG, orientation_of
from app.batch.summary import Frame
from app.pipeline.headers.declared_scale import DeclaredScale, number, scale_of_axes, scale_of_objective, scale_of_tiff
from app.pipeline.headers.inputs import FrameName
from app.pipeline.headers.metadata import AS_STORED, UNNAMED, Metadata, profile_name
from app.pipeline.types import UInt8Array

TAG_UNITS = {"inch": 2, "centimeter": 3}
"""OpenSlide's names of the tag ResolutionUnit, and the values of the tag."""
OBJECTIVE = "openslide.objective-power"
SERIES = "dicom.SeriesInstanceUID"
DICOM = "dicom"
"""OpenSlide's name for DICOM."""


class OpenSlideSlide:
    """A slide that is read with OpenSlide.

    Args:
        path: the file of the slide.
        frame: the frame that is wanted; a file that states no bounds has its canvas only.

    Raises:
        SlideError: OpenSlide knows the format but cannot open the file or would turn parts of it, or it is damaged.
    """

    def __init__(self, path: Path, frame: FrameName = "bounds") -> None:
        self._path = path
        orientation = _orientation(path)
        self._slide = _open(path)
        self._check_tiles()
        canvas = self._slide.dimensions
        bounds = _bounds(self._slide.properties) if frame == "bounds" else None
        x, y, self.width, self.height = bounds or (0, 0, *canvas)
        self.frame = whole_canvas(*canvas) if bounds is None else _frame(x, y, canvas)
        # Sizes of levels need not be whole: the frame begins anywhere between the pixels of a smaller level.
        self._sizes = [
            (self.width * width / canvas[0], self.height * height / canvas[1])
            for width, height in self._slide.level_dimensions
        ]
        self.metadata = Metadata(_scale(self._slide.properties), orientation, _profile(self._slide))

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
        for level in range(self._slide.level_count):
            sides = [
                self._slide.properties.get(f"openslide.level[{level}].tile-{side}") for side in ("width", "height")
            ]
            width, height = (int(number(side) or 0) for side in sides)
            if width * height > MAX_BLOCK_PIXELS:
                self._slide.close()
                raise SlideError(f"A tile may have at most {MAX_BLOCK_PIXELS} pixels, found {width} x {height}.")

    def _read_level(self, level: int, box: Box) -> UInt8Array:
        # OpenSlide takes the corner in px of level 0, and divides it by its own mean of both directions.
        downsample = self._slide.level_downsamples[level]
        corner = (self.frame.x + round(box.x0 * downsample), self.frame.y + round(box.y0 * downsample))
        region = self._slide.read_region(corner, level, (box.x1 - box.x0, box.y1 - box.y0))
        if region.getchannel("A").getextrema() != (255, 255):
            region = Image.alpha_composite(Image.new("RGBA", region.size, (255, 255, 255, 255)), region)
        return np.asarray(cv2.cvtColor(np.asarray(region), cv2.COLOR_RGBA2RGB), dtype=np.uint8)


def _bounds(properties: Mapping[str, str]) -> tuple[int, int, int, int] | None:
    """Return x, y, width and height of the scanned part, as QuPath takes them; None if the file does not state it.

    QuPath takes the bounds if all four numbers are there and whole, wherever they lie.
    """
    try:
        x, y, width, height = (int(properties[f"openslide.bounds-{name}"]) for name in ("x", "y", "width", "height"))
    except (KeyError, ValueError):
        return None
    return (x, y, width, height) if width > 0 and height > 0 else None


def _frame(x: int, y: int, canvas: tuple[int, int]) -> Frame:
    return Frame(name="bounds", x=x, y=y, canvas_width=canvas[0], canvas_height=canvas[1])


def _scale(properties: Mapping[str, str]) -> DeclaredScale | None:
    """Return the scale that the scanner states, else that of the tags of a TIFF, else that of the objective."""
    x, y, across, down, power = (
        number(properties.get(name))
        for name in ("openslide.mpp-x", "openslide.mpp-y", "tiff.XResolution", "tiff.YResolution", OBJECTIVE)
    )
    text, unit = properties.get("tiff.ImageDescription", ""), TAG_UNITS.get(properties.get("tiff.ResolutionUnit", ""))
    return (
        scale_of_axes(x, y, "aperio" if "aperio.MPP" in properties else "slide_metadata")
        or scale_of_tiff(text, (across, down), unit)
        or scale_of_objective(power)
    )


def _orientation(path: Path) -> int:
    """Return the tag Orientation of a slide that is a TIFF; 1 of any other slide.

    Raises:
        SlideError: the tag says that the picture is turned, and OpenSlide would mirror each block by itself. It ignores
            the tag where it decodes the blocks, which are JPEG; libtiff decodes all others for it, and does not.
    """
    try:
        with TiffFile(path) as file:
            page = file.pages.first.aspage()
            orientation, is_jpeg = orientation_of(page), page.compression in JPEG
    except Exception:  # it is no TIFF, or the parser stumbles over what OpenSlide reads
        return AS_STORED
    if orientation != AS_STORED and not is_jpeg:
        raise SlideError(
            f"The slide has the orientation tag {orientation} and blocks that are not JPEG, which OpenSlide would "
            "mirror one by one. Write it without the tag, or with JPEG compression."
        )
    return orientation


def _profile(slide: OpenSlide) -> str | None:
    """Return the name of the slide's colour profile, as `app.pipeline.headers.metadata.Metadata` has it."""
    try:
        profile = slide.color_profile
    except ImageCms.PyCMSError:
        return UNNAMED  # there is a profile, and it is damaged
    return None if profile is None else profile_name(profile.tobytes())


def vendor_of(path: Path) -> str | None:
    """Return OpenSlide's name for the format of a file, such as "aperio"; None if OpenSlide does not know it."""
    found: str | None = OpenSlide.detect_format(path)
    return found


def is_dicom(path: Path) -> bool:
    """Return whether a slide is DICOM: a file of any name, or a folder, which stands for no other slide."""
    return path.is_dir() or vendor_of(path) == DICOM


def dicom_file(folder: Path) -> Path:
    """Return a file of the DICOM slide in a folder; OpenSlide finds the other files of its series beside it.

    Raises:
        SlideError: the folder holds no DICOM slide, or several.
    """
    files = [path for path in sorted(folder.glob("[!.]*.[dD][cC][mM]")) if vendor_of(path) == DICOM]
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
