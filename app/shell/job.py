"""What the shell asks about every tile."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from app.answer.formats import FORMATS, Format
from app.answer.present import Result, png
from app.answer.schemas import NOTICE
from app.pipeline.bundle.load import Bundle
from app.pipeline.networks.backend import Precision
from app.pipeline.run import Stages, analyse_stages
from app.shell.stages import Captions, draw_stages

STAGES = "stages"
# `tile` would be a copy of what is there already.
_FORMATS: dict[str, Format] = {name: form for name, form in FORMATS.items() if name != "tile"}
SUFFIXES = {**{name: form.suffix for name, form in _FORMATS.items()}, STAGES: ".stages.png"}
"""What each format's file has in place of the tile's suffix."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked about every tile.

    Attributes:
        formats: keys of SUFFIXES.
        bundle: what analyses.
        max_pixels: largest tile.
        mpp: µm per pixel of the tiles, if known.
        precision: of Q.
    """

    formats: list[str]
    bundle: Bundle
    max_pixels: int
    mpp: float | None
    precision: Precision

    def answer(self, tile: Path) -> tuple[Result, list[bytes]]:
        """Analyse one tile once, and answer it in every format; the result comes along.

        Raises:
            OSError, PipelineError: it cannot be read, analysed or answered.
        """
        analysis, stages = analyse_stages(
            tile.read_bytes(), self.bundle, max_pixels=self.max_pixels, mpp=self.mpp, precision=self.precision
        )
        # The id that POST /analyze would have given.
        result = Result(analysis, self.bundle, uuid.uuid4().hex)

        def render(name: str) -> bytes:
            if name == STAGES:
                return _figure(stages, _captions(tile.name, result, stages))
            return _FORMATS[name].write(result)

        return result, [render(name) for name in self.formats]


def _figure(stages: Stages, captions: Captions) -> bytes:
    return png(draw_stages(stages.pixels, stages.stains, stages.nuclei, stages.crops, captions))


def _captions(name: str, result: Result, stages: Stages) -> Captions:
    height, width = stages.pixels.shape[:2]
    analysis, manifest, n = result.analysis, result.bundle.manifest, len(stages.nuclei)
    is_scaled = (width, height) != (analysis.tile.width, analysis.tile.height)
    scaled = f", at {manifest.mpp:g} µm per pixel" if is_scaled else ""
    return Captions(
        title=f"{name} · bundle {manifest.name}, version {manifest.version} · {n} {'nucleus' if n == 1 else 'nuclei'}",
        warnings=tuple(f"{flag.code}: {flag.message}" for flag in analysis.quality.flags),
        tile=f"Tile as uploaded{scaled}, {width} × {height} px",
        notice=NOTICE,
    )
