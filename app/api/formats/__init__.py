"""What an analysis can be answered as; the service and the shell give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.api import present
from app.api.formats.cell_table import cell_table
from app.api.formats.geojson import geojson
from app.api.formats.label_png import label_png
from app.api.formats.overlay import overlay
from app.service import Result

FormatName = Literal["json", "geojson", "csv", "overlay", "labels", "tile"]
PNG = "image/png"


@dataclass(frozen=True, slots=True)
class Format:
    """One form of the answer.

    Attributes:
        media_type: of the response.
        suffix: of a file, in place of the tile's.
        render: the result and the request's id → bytes.
    """

    media_type: str
    suffix: str
    render: Callable[[Result, str], bytes]


FORMATS: Mapping[FormatName, Format] = {
    "json": Format(
        "application/json", ".json", lambda result, id_: present.analysis_out(result, id_).model_dump_json().encode()
    ),
    "geojson": Format("application/geo+json", ".geojson", lambda result, _: geojson(result)),
    "csv": Format("text/csv", ".csv", lambda result, _: cell_table(result)),
    "overlay": Format(PNG, ".overlay.png", lambda result, _: overlay(result)),
    "labels": Format(PNG, ".labels.png", lambda result, _: label_png(result)),
    "tile": Format(PNG, ".tile.png", lambda result, _: present.png(result.analysis.tile.pixels)),
}
