"""Open a slide of any format. The content of the file decides how it is read, not its name."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tifffile import TiffFile, TiffPage

from app.batch.read.image_slide import decode_image, open_image
from app.batch.read.openslide_slide import OpenSlideSlide, dicom_file, vendor_of
from app.batch.read.slide import Slide, SlideError
from app.batch.read.tiff_slide import TiffSlide, check_complete, check_pixels, levels_of
from app.pipeline.decode import MAX_SIDE_PX
from app.pipeline.headers.inputs import FrameName
from app.pipeline.headers.tiff_directories import HEADERS
from app.pipeline.headers.tiff_pages import READ_COMPRESSIONS

GENERIC = "generic-tiff"
"""OpenSlide's name for a TIFF of no vendor. It would give the same pixels more slowly, and without OME's levels and
scale."""


def open_slide(path: Path, max_pixels: int, frame: FrameName = "bounds") -> Slide:
    """Open a slide, or a tile as if it were one.

    OpenSlide reads what the scanner of a vendor wrote. A PNG, a JPEG, or a TIFF of one level with at most `max_pixels`
    pixels is decoded as an upload would be, to the very same pixels. Of a pyramid or a larger TIFF only the wanted
    parts are read.

    Args:
        path: a file, or a folder that holds one DICOM slide.
        max_pixels: the largest tile that is decoded as a whole.
        frame: whether the slide is the scanned part, where its file states one, or the whole canvas.

    Raises:
        SlideError: the file cannot be read, or is not a slide. The text does not name the path.
    """
    try:
        file = dicom_file(path) if path.is_dir() else path
        with file.open("rb") as stream:
            start = stream.read(4)
        if not start:
            raise SlideError("The file is empty (0 bytes).")
        if vendor_of(file) not in (None, GENERIC):
            return OpenSlideSlide(file, frame)
        if file.suffix.lower() == ".mrxs":  # without its folder it is a small JPEG, which must not pass for the slide
            raise SlideError("An .mrxs file needs its folder of the same name beside it, which is missing or damaged.")
        if start in HEADERS:
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
                check_complete(tiff, levels)
                slide = TiffSlide(path, tiff)
                stack.pop_all()  # from now on the slide closes the file
                return slide
        except (SlideError, OSError, MemoryError):
            raise
        except Exception as error:  # the parser reports damage with exceptions of many kinds
            raise SlideError("The TIFF is damaged or truncated.") from error
    return decode_image(path, max_pixels)


def _is_tile(levels: list[TiffPage], max_pixels: int) -> bool:
    """Whether it is a plain TIFF that `decode` can read, or refuses with a better reason than `check_pixels`."""
    page = levels[0]
    fits = page.imagewidth * page.imagelength <= max_pixels and max(page.imagewidth, page.imagelength) <= MAX_SIDE_PX
    is_common = page.bitspersample <= 8 and page.samplesperpixel <= 4 and page.compression in READ_COMPRESSIONS
    return len(levels) == 1 and fits and is_common
