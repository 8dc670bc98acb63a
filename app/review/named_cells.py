"""Cells that people have named: read from GeoJSON of QuPath, matched to nuclei, and gathered to learn from.

Whoever names cells in QuPath makes classified detections, points, or areas. Coordinates are those of our own GeoJSON:
pixels of the tile, with the origin at the corner of the first pixel.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
from scipy.spatial import cKDTree

from app.pipeline.cell_types import neighbour_means
from app.pipeline.errors import InvalidNuclei, PipelineError
from app.pipeline.geometry import Cells
from app.pipeline.networks.encode import rounded_features
from app.pipeline.run import Analysis
from app.pipeline.types import BoolArray, Float32Array, Float64Array, Int64Array, Tile
from app.pipeline.uploaded_nuclei.qupath import ANNOTATION, CELL, QuPathObject, objects_of
from app.pipeline.uploaded_nuclei.read import DETECTIONS, check_tile, of_kind, polygons_of, read_json, read_points

GroupKind = Literal["patients", "slides", "tiles", "groups"]
"""What is left out together: all cells of a patient, of a slide, of a tile, or of a group of which no more was said."""
WHAT = "named cells"
"""What the files hold, for messages."""
NEAR_PX = 10.0
"""A name that lies on no nucleus is that of the nearest one whose centre is at most this many px of the tile away."""
AREA_NUCLEI = 4
"""An annotation that is larger than this many nuclei of the tile is an area, which names every cell in it."""
FEW_OBJECTS = 10
"""Of at least so many names of single cells, half must lie on nuclei. Those of another tile hit a quarter by chance."""
MAX_OBJECTS = 200_000
"""Largest number of objects in one file."""
UNNAMED = re.compile(r"Cluster \d+|Outlier")
"""What our own GeoJSON calls cells that nobody has named; whoever names some of them in QuPath leaves the others so."""
IGNORED_MARK = "*"
"""QuPath ignores classes whose names end in it, such as Region* and Ignore*."""
SHOWN = 5
"""The largest number of cells or objects that a message names."""
NO_CLASS, NO_PLACE = "without a classification", "without a point or a polygon that has an area"
NOT_NAMED = "called Cluster or Outlier by Marrowscope, and named by nobody"
NO_NUCLEUS = f"on no nucleus, and more than {NEAR_PX:g} px from the centre of the nearest one that is free"
NO_CELL = "an area with no cell in it"
"""Why an object names no cell."""


class InvalidNamedCells(PipelineError):
    """Named cells cannot be used; the text says which, and why."""


@dataclass(frozen=True, slots=True)
class NamedObject:
    """One object of a file that has a name: a point, the outline of a nucleus, or an area.

    Attributes:
        name: its classification; one that is derived from another is joined to it by ": ", as QuPath shows it.
        x: of the point, or of the centroid of the outline, px of the tile.
        y: likewise.
        rings: the outline and its holes, (V, 2) float64 each; none for a point.
        area_px: area of the outline, px²; 0 for a point.
        may_be_area: whether it is an annotation, which may name more than one cell.
    """

    name: str
    x: float
    y: float
    rings: tuple[Float64Array, ...]
    area_px: float
    may_be_area: bool


@dataclass(frozen=True, slots=True)
class NamesOfFile:
    """What one file says about the cells of a tile.

    Attributes:
        objects: those that have a name, in the order of the file.
        skipped: how many others there are, by the words for them.
    """

    objects: tuple[NamedObject, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unmatched:
    """One object that names no cell.

    Attributes:
        name: its classification.
        x: where it lies from the left, px of the tile.
        y: where it lies from the top, px of the tile.
        reason: why it names no cell.
    """

    name: str
    x: float
    y: float
    reason: str


@dataclass(frozen=True, slots=True)
class MatchedNames:
    """The cells of a tile that have a name.

    Attributes:
        cells: (n,) int64 their numbers, rising.
        names: the name of each of them.
        unmatched: objects that name no cell.
        disagreements: cells with several names, one of which was taken, in words.
    """

    cells: Int64Array
    names: tuple[str, ...]
    unmatched: tuple[Unmatched, ...]
    disagreements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NamedTile:
    """The n named cells of one tile, and what is known of them.

    Attributes:
        features: (n, F) float32, what the encoder sees of each cell.
        measured: (n, M) float64 in µm, NaN where one is missing; column j is MEASUREMENTS[j].
        neighbour_features: (n, F) float64; see `cell_types.neighbour_means`.
        names: the type of each cell.
        sha256: hex digest of the tile.
    """

    features: Float32Array
    measured: Float64Array
    neighbour_features: Float64Array
    names: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class NamedCells:
    """N named cells of any number of tiles: what a classifier learns from.

    Attributes:
        features: (N, F) float32, what the encoder of one bundle sees of each cell.
        measured: (N, M) float64 in µm, NaN where one is missing; column j is MEASUREMENTS[j].
        neighbour_features: (N, F) float64, NaN where a cell has no neighbour; see `cell_types.neighbour_means`.
        types: (N,) int64, the type of each cell: an index into `type_names`.
        type_names: the T types, no two of which are the same.
        groups: (N,) int64, the number of the patient, slide or tile of each cell.
        group_kind: which of these.
        tiles: the tiles that the cells are of, each once.
        reviewers: the people who named them, each once; none if that is not known.
    """

    features: Float32Array
    measured: Float64Array
    neighbour_features: Float64Array
    types: Int64Array
    type_names: tuple[str, ...]
    groups: Int64Array
    group_kind: GroupKind
    tiles: tuple[str, ...]
    reviewers: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.types)

    def select(self, chosen: Int64Array | BoolArray) -> NamedCells:
        """Return some of the cells; types, tiles and reviewers stay those of all."""
        return replace(
            self,
            features=self.features[chosen],
            measured=self.measured[chosen],
            neighbour_features=self.neighbour_features[chosen],
            types=self.types[chosen],
            groups=self.groups[chosen],
        )


def read_names(data: bytes, tile: Tile) -> NamesOfFile:
    """Read the named objects of a tile.

    Args:
        data: GeoJSON as QuPath exports it. Detections, cells and annotations that are classified name cells.
        tile: the tile that it belongs to.

    Raises:
        InvalidNamedCells: it is not GeoJSON, is that of another tile, or has coordinates that make no point or polygon.
    """
    objects: list[NamedObject] = []
    skipped: Counter[str] = Counter()
    try:
        content = read_json(data, WHAT)
        check_tile(content, tile, WHAT)
        features = list(islice(objects_of(content), MAX_OBJECTS + 1))
        if len(features) > MAX_OBJECTS:
            raise InvalidNamedCells(f"The {WHAT} of a tile may be at most {MAX_OBJECTS} objects.")
        for number, feature in enumerate(features, 1):
            if reason := _why_unnamed(feature):
                skipped[reason] += 1
                continue
            found = list(_named(feature, number))
            objects += found
            skipped[NO_PLACE] += not found
    except TypeError as error:
        raise InvalidNamedCells(f"The {WHAT} are JSON, but not GeoJSON: {error}.") from error
    except InvalidNuclei as error:
        raise InvalidNamedCells(str(error)) from error
    _check_within(objects, tile)
    return NamesOfFile(tuple(objects), dict(+skipped))


def _why_unnamed(feature: QuPathObject) -> str | None:
    """Return why an object names no cell, in words; None if it does."""
    if feature.kind not in (*DETECTIONS, ANNOTATION):
        return of_kind(feature.kind)
    if not feature.classes:
        return NO_CLASS
    if feature.classes[-1].endswith(IGNORED_MARK):
        return f"of the class {feature.classes[-1]}, which QuPath ignores"
    return NOT_NAMED if UNNAMED.fullmatch(feature.classes[0]) else None


def _named(feature: QuPathObject, number: int) -> Iterator[NamedObject]:
    """Yield each point and each polygon of a feature, with its name."""
    name = ": ".join(feature.classes)
    # A cell that has no nucleus of its own is where its outline is.
    whole = replace(feature, nucleus=feature.nucleus or feature.geometry) if feature.kind == CELL else feature
    for rings in polygons_of(whole, number, WHAT):
        areas = [_area_and_centroid(ring) for ring in rings]
        area = abs(areas[0][0]) - sum(abs(hole) for hole, _ in areas[1:]) if areas else 0.0
        if areas:
            x, y = areas[0][1]
            yield NamedObject(name, x, y, tuple(rings), area, feature.kind == ANNOTATION)
    for x, y in read_points(list(_points(feature.geometry or {})), number, WHAT).tolist():
        yield NamedObject(name, x, y, (), 0.0, may_be_area=False)


def _points(geometry: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the points of a geometry, as they stand in it."""
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection":
        parts = geometry.get("geometries")
        for part in parts if isinstance(parts, list) else []:
            yield from _points(part if isinstance(part, dict) else {})
    elif kind == "Point":
        yield coordinates
    elif kind == "MultiPoint" and isinstance(coordinates, list):
        yield from coordinates


def _area_and_centroid(ring: Float64Array) -> tuple[float, tuple[float, float]]:
    """Return the signed area of a ring, px², and its centroid x, y; that of a ring without an area is its mean."""
    middle = ring.mean(axis=0)
    # Far from the origin, products of coordinates would lose the digits that count.
    x, y = (ring - middle).T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    cross = x * next_y - next_x * y
    area = float(cross.sum() / 2)
    if abs(area) < 1e-9:
        return 0.0, (float(middle[0]), float(middle[1]))
    shift = np.array([((x + next_x) * cross).sum(), ((y + next_y) * cross).sum()]) / (6 * area)
    return area, (float(middle[0] + shift[0]), float(middle[1] + shift[1]))


def _check_within(objects: Sequence[NamedObject], tile: Tile) -> None:
    """Refuse objects outside a tile: they are those of another one, or in other units."""
    beyond = [
        one
        for one in objects
        if not (-NEAR_PX <= one.x <= tile.width + NEAR_PX and -NEAR_PX <= one.y <= tile.height + NEAR_PX)
    ]
    if beyond:
        raise InvalidNamedCells(
            f"{len(beyond)} of {len(objects)} named objects lie outside the tile of {tile.width} x {tile.height} px, "
            f"such as {_at(beyond[0].name, beyond[0].x, beyond[0].y)}: they are those of another tile, or not in "
            "pixels of this one."
        )


def _at(name: str, x: float, y: float) -> str:
    return f"'{name}' at ({x:.0f}, {y:.0f})"


def match_names(files: Sequence[NamesOfFile], cells: Cells) -> MatchedNames:
    """Find the cell that each named object means.

    A point, or the centroid of an outline, means the nucleus that it lies on. One that lies on none means the nearest
    nucleus whose centre is at most NEAR_PX away; nearest first, and each nucleus only for one such object of a file. An
    annotation larger than AREA_NUCLEI nuclei is an area, and names every cell whose centroid lies in it; a name that is
    given to a cell itself goes before that of an area.

    Several names of one cell, also from several files, are a vote: the one given most often is taken.

    Args:
        files: what each file about the tile says.
        cells: those of the tile.

    Raises:
        InvalidNamedCells: two names were given to a cell equally often, or the names of a file are those of another
            tile.
    """
    own: dict[int, Counter[str]] = defaultdict(Counter)
    by_area: dict[int, Counter[str]] = defaultdict(Counter)
    unmatched: list[Unmatched] = []
    places = np.asarray(cells.centroids) + 0.5  # objects lie among the edges of pixels
    largest_px = AREA_NUCLEI * float(np.median(cells.areas_px)) if len(cells) else 0.0
    for names in files:
        is_area = [one.may_be_area and one.area_px > largest_px for one in names.objects]
        single = [one for one, area in zip(names.objects, is_area, strict=True) if not area]
        found = _matched(single, cells.label_image, places)
        _check_most_match(single, found)
        for one, cell in zip(single, found, strict=True):
            if cell < 0:
                unmatched.append(Unmatched(one.name, one.x, one.y, NO_NUCLEUS))
            else:
                own[cell][one.name] += 1
        for one in (one for one, area in zip(names.objects, is_area, strict=True) if area):
            inside = np.flatnonzero(_inside(one.rings, places)).tolist()
            for cell in inside:
                by_area[cell][one.name] += 1
            if not inside:
                unmatched.append(Unmatched(one.name, one.x, one.y, NO_CELL))
    numbers = sorted({*own, *by_area})
    chosen, disagreements = _voted([own[cell] or by_area[cell] for cell in numbers], places[numbers])
    return MatchedNames(np.array(numbers, np.int64), chosen, tuple(unmatched), disagreements)


def _matched(objects: Sequence[NamedObject], label_image: Any, places: Float64Array) -> list[int]:
    """Return the cell of each point or outline of one file; -1 for none."""
    if not objects or not len(places):
        return [-1] * len(objects)
    points = np.array([(one.x, one.y) for one in objects])
    height, width = label_image.shape
    column, row = np.floor(points).astype(int).T
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    cells = np.full(len(points), -1)
    cells[within] = label_image[row[within], column[within]] - 1
    taken = set(cells.tolist())
    open_objects = np.flatnonzero(cells < 0)
    pairs = [
        (float(np.hypot(*(places[cell] - points[one]))), int(one), cell)
        for one, near in zip(open_objects, cKDTree(places).query_ball_point(points[open_objects], NEAR_PX), strict=True)
        for cell in near
    ]
    for _, one, cell in sorted(pairs):
        if cells[one] < 0 and cell not in taken:
            cells[one] = cell
            taken.add(cell)
    return [int(cell) for cell in cells]


def _check_most_match(objects: Sequence[NamedObject], found: Sequence[int]) -> None:
    """Refuse the names of another tile. One of the same size is not told by its coordinates, and QuPath keeps no more.

    Args:
        objects: those of one file that name single cells.
        found: the cell of each; -1 for none.
    """
    lost = [one for one, cell in zip(objects, found, strict=True) if cell < 0]
    if len(objects) >= FEW_OBJECTS and 2 * len(lost) > len(objects):
        raise InvalidNamedCells(
            f"{len(lost)} of {len(objects)} named objects lie on no nucleus of this tile, such as "
            f"{_at(lost[0].name, lost[0].x, lost[0].y)}: they are those of another tile or of another part of the "
            "slide, or the tile was analysed at a wrong mpp. None of them was used."
        )


def _inside(rings: Sequence[Float64Array], points: Float64Array) -> BoolArray:
    """Return (N,) bool, whether each of (N, 2) points lies in a polygon: rings wind round it an odd number of times."""
    inside = np.zeros(len(points), bool)
    for ring in rings:
        x0, y0 = ring.T
        x1, y1 = np.roll(ring, -1, axis=0).T
        low, high = ring.min(axis=0), ring.max(axis=0)
        for i in np.flatnonzero(((points >= low) & (points <= high)).all(axis=1)):
            x, y = points[i]
            crossed = (y0 > y) != (y1 > y)
            at = x0[crossed] + (y - y0[crossed]) * (x1 - x0)[crossed] / (y1 - y0)[crossed]
            inside[i] ^= bool(np.count_nonzero(at > x) % 2)
    return inside


def _voted(votes: Sequence[Counter[str]], places: Float64Array) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the name that each cell was given most often, and what was said of cells with several names."""
    chosen, disagreements, contradictory = [], [], []
    for counted, (x, y) in zip(votes, places, strict=True):
        (name, most), *others = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"'{one}' {n}×" for one, n in [(name, most), *others])
        if others and others[0][1] == most:
            contradictory.append(f"the cell at ({x:.0f}, {y:.0f}) is {shown}")
        elif others:
            disagreements.append(f"The cell at ({x:.0f}, {y:.0f}) has the names {shown}; the first was taken.")
        chosen.append(name)
    if contradictory:
        more = f"; and {len(contradictory) - SHOWN} more" if len(contradictory) > SHOWN else ""
        raise InvalidNamedCells(
            f"Contradictory names: {'; '.join(contradictory[:SHOWN])}{more}. Keep one name for each cell."
        )
    return tuple(chosen), tuple(disagreements)


def named_tile(analysis: Analysis, matched: MatchedNames) -> NamedTile:
    """Return what is known of the named cells of an analysed tile.

    Args:
        analysis: by a bundle whose networks give features.
        matched: the cells of that tile that have names.
    """
    # Without a cell, the number of features is not known.
    given = np.zeros((0, 0), np.float32) if analysis.features is None else analysis.features
    # As answers show both, because these are what the classifier of a bundle takes.
    features, measured = rounded_features(given), analysis.measurements.shown(scale_known=True)
    near = neighbour_means(features, analysis.cells.nuclei.centroids)
    return NamedTile(
        features=features[matched.cells].astype(np.float32),
        measured=measured[matched.cells],
        neighbour_features=near[matched.cells],
        names=matched.names,
        sha256=analysis.tile.sha256,
    )


def gather(
    tiles: Sequence[NamedTile], groups: Sequence[str], group_kind: GroupKind, reviewers: Sequence[str] = ()
) -> NamedCells:
    """Gather the named cells of tiles that one bundle has analysed.

    Args:
        tiles: the tiles, each once.
        groups: what each tile belongs to.
        group_kind: what the groups are.
        reviewers: the people who named the cells.

    Raises:
        InvalidNamedCells: there is no named cell.
    """
    known = [(tile, group) for tile, group in zip(tiles, groups, strict=True) if tile.names]
    if not known:
        raise InvalidNamedCells("No cell has a name.")
    type_names = tuple(
        sorted({name for tile, _ in known for name in tile.names}, key=lambda name: (name.lower(), name))
    )
    number = {group: i for i, group in enumerate(sorted({group for _, group in known}))}
    return NamedCells(
        features=np.concatenate([tile.features for tile, _ in known]),
        measured=np.concatenate([tile.measured for tile, _ in known]),
        neighbour_features=np.concatenate([tile.neighbour_features for tile, _ in known]),
        types=np.array([type_names.index(name) for tile, _ in known for name in tile.names], np.int64),
        type_names=type_names,
        groups=np.repeat([number[group] for _, group in known], [len(tile.names) for tile, _ in known]),
        group_kind=group_kind,
        tiles=tuple(tile.sha256 for tile, _ in known),
        reviewers=tuple(sorted(set(reviewers))),
    )
