"""A slide: any picture that is read window by window, from one tile to gigapixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.pipeline.errors import PipelineError
from app.pipeline.types import UInt8Array


class SlideError(PipelineError):
    """The slide cannot be read or analysed; the text says why. Its name is added where that is told."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of a slide, in px of its level 0.

    Attributes:
        y: row of its first pixel.
        x: column of its first pixel.
        width: px, ≥ 1.
        height: px, ≥ 1.
    """

    y: int
    x: int
    width: int
    height: int

    def grown(self, by: int, width: int, height: int) -> Window:
        """`by` px more on each side, as far as a slide of `width` x `height` px goes."""
        x0, y0 = max(0, self.x - by), max(0, self.y - by)
        x1, y1 = min(width, self.x + self.width + by), min(height, self.y + self.height + by)
        return Window(y0, x0, x1 - x0, y1 - y0)


class Slide(Protocol):
    """An open slide; to be used from one thread.

    Attributes:
        width: px of level 0, ≥ 1.
        height: px of level 0, ≥ 1.
        mpp: µm per pixel of level 0 (the mean of both directions); None where the file does not say.
    """

    width: int
    height: int
    mpp: float | None

    def read(self, window: Window, downsample: float = 1.0) -> UInt8Array:
        """The pixels of a window, from the level that suits; transparent ones are white, as glass is.

        Args:
            window: within the slide.
            downsample: level-0 px per px of the result, > 0; below 1 the pixels are enlarged.

        Returns:
            (H, W, 3) uint8 RGB, H and W the window's over `downsample`, rounded, at least 1.

        Raises:
            SlideError: that part of the file is damaged.
        """
        ...

    def close(self) -> None:
        """Give the file back."""
        ...
