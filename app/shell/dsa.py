"""A part of a slide → an annotation of the Digital Slide Archive: what the task in `integrations/dsa` does."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path

from app.answer.dsa import annotation
from app.answer.present import Result, png
from app.batch.read.open import open_slide
from app.batch.read.slide import Slide, SlideError, Window
from app.pipeline.bundle.load import Bundle
from app.pipeline.errors import InvalidParameter
from app.pipeline.headers.declared_scale import MppSource, chosen_mpp
from app.pipeline.headers.inputs import FrameName, check_mpp
from app.pipeline.run import analyse
from app.shell.outputs import write

FRAME: FrameName = "canvas"
"""large_image shows the whole canvas of a slide, so coordinates count from its corner."""
WHOLE = (-1.0, -1.0, -1.0, -1.0)
"""The region of the archive that means the whole image."""
SIDES = 4
"""Numbers of a region: left, top, width, height."""


def annotate(
    image: Path, region: str, output: Path, bundle: Bundle, *, mpp: float | None = None, max_pixels: int
) -> Result:
    """Analyse a part of a slide at its full resolution, and write the annotation.

    Args:
        image: the slide, or a tile.
        region: `left, top, width, height` in px of level 0 of the slide; four times -1 for all of it. What lies outside
            the slide is cut off.
        output: the file for the annotation; an older one is replaced.
        bundle: the bundle that analyses.
        mpp: µm per px of level 0; None if the file is to say it.
        max_pixels: pixels of the largest part.

    Returns:
        The analysis. Its coordinates count from the corner of the part, those of the file from the corner of the slide.

    Raises:
        InvalidParameter: `region` or `mpp` is not valid.
        SlideError: the slide cannot be read, the part is too large, or the scale of the slide is not known.
        PipelineError: the part cannot be analysed.
        CannotWrite: the annotation cannot be written.
    """
    check_mpp(mpp)
    slide = open_slide(image, max_pixels, FRAME)
    try:
        window = window_of(region, slide)
        _check_size(window, max_pixels)
        found_mpp, source = _scale(slide, window, mpp)
        pixels = slide.read(window)
    finally:
        slide.close()
    analysis = analyse(png(pixels), bundle, max_pixels=max_pixels, mpp=found_mpp)
    analysis = replace(analysis, tile=replace(analysis.tile, mpp_source=source))
    result = Result(analysis, bundle, uuid.uuid4().hex)
    content = annotation(result, window.x, window.y)
    content["attributes"]["region"] = {
        "left": window.x,
        "top": window.y,
        "width": window.width,
        "height": window.height,
    }
    write(json.dumps(content, allow_nan=False, separators=(",", ":")).encode(), output)
    return result


def window_of(region: str, slide: Slide) -> Window:
    """Return the part of a slide that a region of the archive means, in whole px.

    Raises:
        InvalidParameter: the region has another form, or lies outside the slide.
    """
    try:
        numbers = tuple(float(part) for part in region.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != SIDES:
        raise InvalidParameter(f"The region must be left, top, width, height in px; found '{region}'.")
    if numbers == WHOLE:
        return Window(0, 0, slide.width, slide.height)
    left, top, width, height = numbers
    try:
        x0, y0, x1, y1 = round(left), round(top), round(left + width), round(top + height)
    except (ValueError, OverflowError) as error:  # not a number, or infinite
        raise InvalidParameter(f"The region must be left, top, width, height in px; found '{region}'.") from error
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, slide.width), min(y1, slide.height)
    if x0 >= x1 or y0 >= y1:
        raise InvalidParameter(
            f"The region '{region}' holds no pixel of the image, which has {slide.width} x {slide.height}."
        )
    return Window(y0, x0, x1 - x0, y1 - y0)


def _check_size(window: Window, max_pixels: int) -> None:
    if window.width * window.height > max_pixels:
        raise SlideError(
            f"The region has {window.width} x {window.height} pixels, and at most {max_pixels} are analysed at once; "
            "draw a smaller one, or analyse the whole slide with `marrowscope batch`."
        )


def _scale(slide: Slide, window: Window, requested: float | None) -> tuple[float | None, MppSource]:
    """Return µm per px of level 0, and where they come from; None takes the bundle's, for a tile alone."""
    mpp, source = chosen_mpp(requested, slide.metadata.scale)
    is_whole = (window.width, window.height) == (slide.width, slide.height)
    if mpp is None and not is_whole:
        raise SlideError("The file does not say how many µm a pixel has; enter the scale of the image.")
    return mpp, source
