"""A PNG, JPEG or small TIFF as a slide: all of it is decoded at once, as an upload would be."""

from __future__ import annotations

from pathlib import Path

from app.batch.read.slide import SlideError, Window, whole_canvas
from app.pipeline.decode import read_picture, reader_of
from app.pipeline.errors import PipelineError
from app.pipeline.geometry import resize
from app.pipeline.headers.inputs import LONGEST_MARK, other_format
from app.pipeline.headers.metadata import NOTHING, Metadata
from app.pipeline.types import UInt8Array


class ImageSlide:
    """A picture whose pixels are all in memory."""

    def __init__(self, pixels: UInt8Array, metadata: Metadata = NOTHING) -> None:
        self.height, self.width = (int(side) for side in pixels.shape[:2])
        self.frame = whole_canvas(self.width, self.height)
        self.metadata = metadata
        self._pixels = pixels

    def read(self, window: Window, downsample: float = 1.0) -> UInt8Array:
        """Read a part of the picture, as `app.batch.read.slide.Slide` describes."""
        pixels = self._pixels[window.y : window.y + window.height, window.x : window.x + window.width]
        width, height = (max(1, round(side / downsample)) for side in (window.width, window.height))
        return resize(pixels, width, height)

    def close(self) -> None:
        """Do nothing, because no file is open."""


def open_image(path: Path, max_pixels: int) -> ImageSlide:
    """Open a PNG or JPEG.

    Raises:
        SlideError: the file is neither, is damaged, or has more than `max_pixels` pixels.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(LONGEST_MARK)
        reader = reader_of(start)
        if reader is None:
            other = other_format(start)
            raise SlideError(
                f"It is {other}, which is not read; save it as TIFF, PNG or JPEG."
                if other
                else "It is not a slide that OpenSlide can read, and not a TIFF, PNG or JPEG."
            )
        file.seek(0)
        try:
            # Image.open would refuse a large picture without giving its size.
            width, height = reader(file).size
        except Exception as error:  # Pillow reports damage with exceptions of many kinds
            raise SlideError("The image is damaged or truncated and cannot be decoded.") from error
    if width * height > max_pixels:
        raise SlideError(
            f"A PNG or JPEG may have at most {max_pixels} pixels, found {width} x {height}; "
            "larger slides must be TIFF or a format of OpenSlide."
        )
    return decode_image(path, max_pixels)


def decode_image(path: Path, max_pixels: int) -> ImageSlide:
    """Decode a file as `app.pipeline.decode` decodes an upload, to the very same pixels.

    Raises:
        SlideError: the file is one that an upload may not be.
        OSError: the file cannot be read.
    """
    try:
        return ImageSlide(*read_picture(path.read_bytes(), max_pixels=max_pixels))
    except PipelineError as error:
        raise SlideError(str(error).replace("The upload", "The file")) from error
