"""Open any slide: what it is, its content decides."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from PIL.TiffImagePlugin import COMPRESSION_INFO
from tifffile import TiffFile, TiffPage

from app.batch.read.image_slide import decoded, open_image
from app.batch.read.openslide_slide import OpenSlideSlide, dicom_file, vendor_of
from app.batch.read.slide import Slide, SlideError
from app.batch.read.tiff_facts import check_pixels, check_whole, levels_of
from app.batch.read.tiff_slide import TiffSlide
from app.pipeline.decode import MAX_SIDE_PX

GENERIC = "generic-tiff"
"""Of no vendor. OpenSlide gives the same pixels more slowly, and knows neither OME's levels nor its scale."""
TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_slide(path: Path, max_pixels: int) -> Slide:
    """Open a slide, or a tile as one.

    What a vendor's scanner wrote goes to OpenSlide. A TIFF without smaller levels, a PNG or a JPEG of at most
    `max_pixels` is decoded as an upload would be, to the very same pixels. Pyramids and larger TIFFs are read
    window by window.

    Args:
        path: a file, or a folder that holds one DICOM slide.
        max_pixels: largest tile that is decoded whole.

    Raises:
        SlideError: it cannot be read, or is none; the text names no path.
    """
    try:
        file = dicom_file(path) if path.is_dir() else path
        with file.open("rb") as stream:
            start = stream.read(4)
        if not start:
            raise SlideError("The file is empty (0 bytes).")
        if vendor_of(file) not in (None, GENERIC):
            return OpenSlideSlide(file)
        if file.suffix.lower() == ".mrxs":  # by itself it is a small JPEG, which must not pass for the slide
            raise SlideError("An .mrxs file needs its folder of the same name beside it, which is missing or damaged.")
        if start in TIFF_HEADERS:
            return _open_tiff(file, max_pixels)
        return open_image(file, max_pixels)
    except OSError as error:
        raise SlideError(f"The file cannot be read: {error.strerror or type(error).__name__}.") from error


def _open_tiff(path: Path, max_pixels: int) -> Slide:
    with ExitStack() as stack:
        try:
            tiff = stack.enter_context(TiffFile(path))
            levels = levels_of(tiff)
            if not _is_tile(levels, max_pixels):
                for page in levels:
                    check_pixels(page)
                check_whole(tiff, levels)
                slide = TiffSlide(path, tiff)
                stack.pop_all()  # the slide closes it
                return slide
        except (SlideError, OSError, MemoryError):
            raise
        except Exception as error:  # the parser reports damage with exceptions of many kinds
            raise SlideError("The TIFF is damaged or truncated.") from error
    return decoded(path, max_pixels)


def _is_tile(levels: list[TiffPage], max_pixels: int) -> bool:
    """Whether it is a plain TIFF that `decode` takes, or refuses with good reason."""
    page = levels[0]
    fits = page.imagewidth * page.imagelength <= max_pixels and max(page.imagewidth, page.imagelength) <= MAX_SIDE_PX
    is_common = page.bitspersample <= 8 and page.samplesperpixel <= 4 and page.compression in COMPRESSION_INFO
    return len(levels) == 1 and fits and is_common
