"""The table of formats: every form in which an analysis can be answered.

The service and the shell write an answer by this table, so that both give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.answer.cell_table import cell_table
from app.answer.dsa import dsa
from app.answer.geojson import geojson
from app.answer.label_image import label_png
from app.answer.overlay import overlay
from app.answer.present import Result, png

FormatName = Literal["json", "geojson", "dsa", "csv", "overlay", "labels", "tile"]
PNG = "image/png"


@dataclass(frozen=True, slots=True)
class Format:
    """One form of the answer.

    Attributes:
        media_type: media type of the response.
        suffix: ending of a file's name, in place of the tile's own.
        write: writes a result as bytes in this form.
    """

    media_type: str
    suffix: str
    write: Callable[[Result], bytes]


FORMATS: Mapping[FormatName, Format] = {
    "json": Format("application/json", ".json", Result.json),
    "geojson": Format("application/geo+json", ".geojson", geojson),
    "dsa": Format("application/x.dsa-annotation+json", ".anot", dsa),
    "csv": Format("text/csv", ".csv", cell_table),
    "overlay": Format(PNG, ".overlay.png", overlay),
    "labels": Format(PNG, ".labels.png", label_png),
    "tile": Format(PNG, ".tile.png", lambda result: png(result.analysis.tile.pixels)),
}
