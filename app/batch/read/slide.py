"""What a slide is: a picture of any size, from one tile to gigapixels, that is read in rectangular parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.batch.summary import Frame
from app.pipeline.errors import PipelineError
from app.pipeline.headers.metadata import Metadata
from app.pipeline.types import UInt8Array

MAX_BLOCK_PIXELS = 64_000_000
"""The largest strip or tile of a slide file, in px: it is decoded as a whole, however small the wanted part is."""


class SlideError(PipelineError):
    """The slide cannot be read or analysed; the text says why, and the caller adds which slide it is."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of a slide, in px of level 0, its full resolution.

    Attributes:
        y: the row of its first pixel.
        x: the column of its first pixel.
        width: ≥ 1.
        height: ≥ 1.
    """

    y: int
    x: int
    width: int
    height: int

    def grown(self, by: int, width: int, height: int) -> Window:
        """Return the window with a margin on each side, cut off at the border of the slide.

        Args:
            by: the width of the margin, in px of level 0.
            width: the width of the slide, in px of level 0.
            height: the height of the slide, in px of level 0.
        """
        x0, y0 = max(0, self.x - by), max(0, self.y - by)
        x1, y1 = min(width, self.x + self.width + by), min(height, self.y + self.height + by)
        return Window(y0, x0, x1 - x0, y1 - y0)


class Slide(Protocol):
    """An open slide, to be used from one thread only.

    Attributes:
        width: in px of level 0, ≥ 1.
        height: in px of level 0, ≥ 1.
        frame: where the slide lies on the canvas of its file; all coordinates count from the corner of the frame.
        metadata: what the file says about its scale, orientation and colours; the pixels of level 0 are as stored.
    """

    width: int
    height: int
    frame: Frame
    metadata: Metadata

    def read(self, window: Window, downsample: float = 1.0) -> UInt8Array:
        """Read a part of the slide, from the level that fits the wanted scale best.

        Transparent pixels become white, the colour of glass.

        Args:
            window: the part; it must lie within the slide.
            downsample: px of level 0 per px of the result, > 0; below 1 the pixels are enlarged.

        Returns:
            (H, W, 3) uint8 RGB. H and W are those of the window divided by `downsample`, rounded, and at least 1.

        Raises:
            SlideError: this part of the file is damaged.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def whole_canvas(width: int, height: int) -> Frame:
    """Return the frame of a slide that is its whole canvas of this size, in px of level 0."""
    return Frame(name="canvas", x=0, y=0, canvas_width=width, canvas_height=height)
