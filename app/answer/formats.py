"""What an analysis can be answered as; the service and the shell give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.answer import present
from app.answer.cell_table import cell_table
from app.answer.geojson import geojson
from app.answer.label_image import label_png
from app.answer.overlay import overlay
from app.answer.schemas import AnalysisOut
from app.pipeline.run import Analysis

FormatName = Literal["json", "geojson", "csv", "overlay", "labels", "tile"]
PNG = "image/png"


@dataclass(frozen=True, slots=True)
class Format:
    """One form of the answer.

    Attributes:
        media_type: of the response.
        suffix: of a file, in place of the tile's.
        write: the analysis, and the JSON answer made of it → bytes.
    """

    media_type: str
    suffix: str
    write: Callable[[Analysis, AnalysisOut], bytes]


FORMATS: Mapping[FormatName, Format] = {
    "json": Format("application/json", ".json", lambda _, answer: answer.model_dump_json().encode()),
    "geojson": Format("application/geo+json", ".geojson", lambda analysis, answer: geojson(answer, analysis.cells)),
    "csv": Format("text/csv", ".csv", lambda _, answer: cell_table(answer)),
    "overlay": Format(PNG, ".overlay.png", lambda analysis, answer: overlay(answer, analysis.tile.pixels)),
    "labels": Format(PNG, ".labels.png", lambda analysis, _: label_png(analysis.cells)),
    "tile": Format(PNG, ".tile.png", lambda analysis, _: present.png(analysis.tile.pixels)),
}
