"""The nuclei of a slide that another program has found, kept on disk by the tile that each belongs to.

A nucleus belongs to the tile whose core holds the middle of its outline, so that each is counted once, however the
slide is divided. The file of a slide may have a million nuclei: it is read feature by feature, and a worker reads those
of a tile and of the tiles round it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from app.batch.plan.feature_stream import FeatureStream, feature_stream
from app.batch.read.slide import SlideError
from app.batch.summary import Frame
from app.files import whole_file
from app.pipeline.types import BoolArray, Float64Array, Int64Array
from app.pipeline.uploaded_nuclei.draw import MAX_LENGTH_PX, Outlines
from app.pipeline.uploaded_nuclei.qupath import ANNOTATION, QuPathObject, objects_of
from app.pipeline.uploaded_nuclei.read import DETECTIONS, LARGE, NO_AREA, of_kind, polygons_of, why_no_polygon

TABLE = """
CREATE TABLE nuclei (
    number INTEGER PRIMARY KEY, core INTEGER, is_detection INTEGER, lengths BLOB, points BLOB
)"""
ROW = "INSERT INTO nuclei VALUES (?, ?, ?, ?, ?)"
OUTSIDE = "outside the slide"


class SlideNuclei(BaseModel):
    """What the file of nuclei of a slide holds, as the plan keeps it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(description="The number of nuclei.")
    skipped: dict[str, int] = Field(description="How much else the file holds, by the reason why it is no nucleus.")
    cores: tuple[int, ...] = Field(description="The numbers of the cores that have nuclei, in reading order.")


@dataclass(frozen=True, slots=True)
class CoreGrid:
    """The cores that a slide is divided into, and the frame that it lies in.

    Attributes:
        width: of the slide, px of level 0.
        height: of the slide, px of level 0.
        edge: of a core, px of level 0.
        downsample: px of level 0 per px of the analysed scale.
        frame: the part of the canvas that is analysed.
    """

    width: int
    height: int
    edge: int
    downsample: float
    frame: Frame

    @property
    def columns(self) -> int:
        """Number of cores in a row."""
        return -(-self.width // self.edge)

    def core(self, x: float, y: float) -> int:
        """Return the number of the core, in reading order, that holds a point."""
        return int(y // self.edge) * self.columns + int(x // self.edge)

    def round_core(self, core: int) -> list[int]:
        """Return the numbers of a core and of those that touch it."""
        row, column = divmod(core, self.columns)
        rows = range(max(0, row - 1), row + 2)
        return [r * self.columns + c for r in rows for c in range(max(0, column - 1), min(self.columns, column + 2))]


def keep_nuclei(path: Path, target: Path, grid: CoreGrid) -> SlideNuclei:
    """Read the nuclei of a slide, and keep them by their cores.

    Args:
        path: GeoJSON, gzipped or not, in px of level 0 of the frame; forms as in `uploaded_nuclei.read.read_outlines`.
        target: the path of the database to write.
        grid: the cores of the slide.

    Raises:
        SlideError: the file is not GeoJSON, has features and no polygon, or is of another slide or frame.
        InvalidNuclei: the coordinates of a feature make no polygon.
        OSError: the database cannot be written.
    """
    try:
        number, cores, skipped = _kept(path, target, grid)
    except sqlite3.Error as error:
        raise OSError(f"{target} cannot be written: {error}") from error
    if not number and skipped:
        raise SlideError(
            f"{path.name} has no nucleus within the slide of {grid.width} x {grid.height} px ({_listed(skipped)}); "
            "each needs a polygon in px of the full resolution, as QuPath exports it."
        )
    return SlideNuclei(number=number, skipped=skipped, cores=cores)


def _kept(path: Path, target: Path, grid: CoreGrid) -> tuple[int, tuple[int, ...], dict[str, int]]:
    """Write the database; return how many nuclei it has, the cores that have some, and what was skipped."""
    skipped: Counter[str] = Counter()
    with whole_file(target) as temporary, closing(sqlite3.connect(temporary)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute(TABLE)
        with feature_stream(path) as stream:
            database.executemany(ROW, _rows(stream, path.name, grid, skipped))
        n_detections = database.execute("SELECT count(*) FROM nuclei WHERE is_detection").fetchone()[0]
        if n_detections:
            removed = database.execute("DELETE FROM nuclei WHERE NOT is_detection").rowcount
            skipped[of_kind(ANNOTATION)] += removed
        database.execute("CREATE INDEX by_core ON nuclei (core, number)")
        number = database.execute("SELECT count(*) FROM nuclei").fetchone()[0]
        cores = database.execute("SELECT DISTINCT core FROM nuclei ORDER BY core").fetchall()
        database.commit()
    return number, tuple(core for (core,) in cores), dict(+skipped)


def nuclei_of_core(path: Path, grid: CoreGrid, core: int) -> tuple[Outlines, BoolArray]:
    """Return the nuclei of a core and of those that touch it, in the order of their file.

    Args:
        path: the database that `keep_nuclei` has written.
        grid: the cores of the slide.
        core: the number of the core.

    Returns:
        The N outlines in px of level 0, and (N,) bool, which of them belong to the core itself.

    Raises:
        OSError: the database cannot be read.
    """
    cores = grid.round_core(core)
    marks = ", ".join("?" * len(cores))
    query = f"SELECT core, lengths, points FROM nuclei WHERE core IN ({marks}) ORDER BY number"  # noqa: S608 - marks
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            rows = database.execute(query, cores).fetchall()
    except sqlite3.Error as error:
        raise OSError(f"{path} cannot be read: {error}") from error
    lengths = [np.frombuffer(row[1], np.int64) for row in rows]
    outlines = Outlines(
        points=np.concatenate([np.zeros((0, 2)), *(np.frombuffer(row[2]).reshape(-1, 2) for row in rows)]),
        lengths=np.concatenate([np.zeros(0, np.int64), *lengths]),
        owners=np.repeat(np.arange(len(rows)), [len(of_rings) for of_rings in lengths]),
        number=len(rows),
    )
    return outlines, np.array([row[0] == core for row in rows], bool)


def _rows(
    stream: FeatureStream, name: str, grid: CoreGrid, skipped: Counter[str]
) -> Iterator[tuple[int, int, bool, bytes, bytes]]:
    """Yield the rows of the table, and count what is no nucleus."""
    number = n_features = 0
    for content in stream.features():
        if not n_features:
            _check_frame(stream.members, name, grid)
        for feature in objects_of(content):
            n_features += 1
            if feature.kind not in (*DETECTIONS, ANNOTATION):
                skipped[of_kind(feature.kind)] += 1
                continue
            for rings, core in _nuclei(feature, n_features, grid, skipped):
                number += 1
                lengths: Int64Array = np.array([len(ring) for ring in rings], np.int64)
                is_detection = feature.kind in DETECTIONS
                yield number, core, is_detection, lengths.tobytes(), np.concatenate(rings).tobytes()


def _nuclei(
    feature: QuPathObject, number: int, grid: CoreGrid, skipped: Counter[str]
) -> Iterator[tuple[list[Float64Array], int]]:
    """Yield the rings and the core of each nucleus of a feature: what lies in the slide and is no larger than one."""
    polygons = polygons_of(feature, number)
    skipped[why_no_polygon(feature)] += not polygons
    for rings in polygons:
        if not rings:
            skipped[NO_AREA] += 1
            continue
        x, y = middle(rings[0])
        if not (0 <= x < grid.width and 0 <= y < grid.height):
            skipped[OUTSIDE] += 1
        elif np.ptp(rings[0], axis=0).max() > MAX_LENGTH_PX * grid.downsample:
            skipped[LARGE] += 1
        else:
            yield rings, grid.core(x, y)


def middle(ring: Float64Array) -> tuple[float, float]:
    """Return x, y of the centre of gravity of the area in a ring (V, 2); that of its corners if it has no area."""
    # Near the origin of the slide or far from it, the same digits count.
    first = ring[0]
    x, y = (ring - first).T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    cross = x * next_y - next_x * y
    area = cross.sum() / 2
    if area == 0:
        return tuple(ring.mean(axis=0).tolist())
    centre = np.array([((x + next_x) * cross).sum(), ((y + next_y) * cross).sum()]) / (6 * area)
    # A ring that crosses itself may have its centre of gravity anywhere.
    return tuple((first + centre.clip((x.min(), y.min()), (x.max(), y.max()))).tolist())


def _check_frame(members: Mapping[str, Any], name: str, grid: CoreGrid) -> None:
    """Refuse the GeoJSON of one of our slides that is another slide, or has another frame."""
    frame = members.get("frame")
    if isinstance(frame, dict) and frame.get("name") not in (None, grid.frame.name):
        raise SlideError(
            f"{name} has the coordinates of the frame '{frame['name']}', and this batch those of '{grid.frame.name}'; "
            "give the --frame that the nuclei have."
        )
    size = members.get("width", grid.width), members.get("height", grid.height)
    if isinstance(frame, dict) and size != (grid.width, grid.height):
        raise SlideError(
            f"{name} has the nuclei of another slide, of {size[0]} x {size[1]} px; this one has {grid.width} x "
            f"{grid.height}."
        )


def _listed(skipped: Mapping[str, int]) -> str:
    return "; ".join(f"{n} {reason}" for reason, n in skipped.items() if n)
