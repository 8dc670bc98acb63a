"""The names of a tile's cells as GeoJSON that QuPath reads, and names from such a file."""

from __future__ import annotations

import codecs
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from app.pipeline.errors import InvalidParameter
from app.pipeline.geometry import Cells
from app.pipeline.types import Tile
from app.pipeline.uploaded_nuclei.draw import Outlines, draw_outlines
from app.review.candidates import Review, ReviewTile
from app.review.errors import NotInReview
from app.review.named_cells import MatchedNames, NamesOfFile, match_names, read_names
from app.review.names import (
    MAX_PERSON,
    CellName,
    NamedType,
    checked_text,
    checked_type,
    majority,
)
from app.review.store import PlacedCell, Store

MAX_LISTED = 50
"""The largest number of objects that were not used of which an answer says why."""
GREY = "#999999"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the objects of a file.

    Attributes:
        n_named: how many cells they name.
        n_changed: how many of these had no name or another one before.
        n_unmatched: how many objects with a name mean no cell.
        unmatched: what was not used and why, in sentences.
    """

    n_named: int
    n_changed: int
    n_unmatched: int
    unmatched: list[str]


def exported(store: Store, sha256: str, review: Review) -> tuple[ReviewTile, bytes]:
    """Return a tile and the names of its cells: a FeatureCollection with a detection for each named cell.

    A cell's classification is what most reviewers named it; the property `names` has what each of them did. If no cell
    that the bundle finds now has a name, the cells of the version of it are given whose names are the latest.

    Args:
        store: of the review.
        sha256: hex digest of the tile.
        review: the bundle as it is now.

    Raises:
        NotInReview: there is no such tile.
    """
    tiles = {tile.review.sha256: tile for tile in store.tiles() if tile.sha256 == sha256}
    if not tiles:
        raise NotInReview("There is no such tile in the review.")
    names = {found: given for found, given in store.names_of_tile(sha256).items() if found in tiles}
    latest = max(names, key=lambda found: names[found][-1].when, default=review.sha256)
    used = review.sha256 if review.sha256 in names else latest
    tile = tiles.get(used) or next(iter(tiles.values()))
    content = {
        "type": "FeatureCollection",
        "tile": {"sha256": sha256, "name": tile.name, "width": tile.width, "height": tile.height, "mpp": tile.mpp},
        "bundle": {"name": tile.review.bundle, "sha256": tile.review.sha256},
        "features": _features(store.placed(sha256, used), names.get(used, []), store.types()),
    }
    # Whatever is not ASCII is escaped, because some readers do not take the file for UTF-8.
    return tile, json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _features(cells: Sequence[PlacedCell], names: Sequence[CellName], types: Sequence[NamedType]) -> list[Any]:
    of_cell: dict[str, list[CellName]] = {}
    for name in names:
        of_cell.setdefault(name.cell, []).append(name)
    named, colors = majority(names), {one.name: one.color for one in types}
    return [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, cell.id)),
            "geometry": {"type": "Polygon", "coordinates": cell.outline},
            "properties": {
                "objectType": "detection",
                "name": f"Cell {cell.number}",
                "classification": {"name": named[cell.id], "color": _rgb(colors.get(named[cell.id], GREY))},
                "measurements": {"Cell id": cell.number, "Cluster": cell.cluster},
                "names": [
                    {"reviewer": name.reviewer, "type": name.type, "when": name.when.isoformat()}
                    for name in of_cell[cell.id]
                ],
            },
        }
        for cell in cells
        if cell.id in named
    ]


def _rgb(color: str) -> list[int]:
    return list(bytes.fromhex(color[1:]))


def file_name(tile: ReviewTile) -> str:
    """Return the name of the file that holds the names of a tile's cells: X.geojson belongs to the tile X.png."""
    stem = re.sub(r"\.[^.]{1,5}$", "", re.split(r"[/\\]", tile.name)[-1])
    safe = re.sub(r"[^\w.-]", "_", stem).lstrip(".-")[:100]
    return f"{safe or tile.sha256[:16]}.geojson"


def imported(store: Store, data: bytes, tile: ReviewTile, reviewer: str | None, *, add_types: bool) -> Imported:
    """Give names from GeoJSON to the cells of a tile; all of them are kept, or none.

    Args:
        store: of the review.
        data: GeoJSON as QuPath writes it, or `exported`.
        tile: the tile.
        reviewer: who is taken to have given the names. None takes those whom a file of `exported` says.
        add_types: whether types that are not in the list are put at its end; otherwise they are refused.

    Raises:
        InvalidNamedCells: it is not GeoJSON, is that of another tile, or has contradictory names.
        InvalidParameter: it has a type that is not in the list, or nothing of it was matched to a cell.
    """
    # Of the pixels, only how many there are is asked.
    blank = Tile(np.broadcast_to(np.uint8(0), (tile.height, tile.width, 3)), tile.sha256, tile.mpp)
    found = read_names(data, blank)
    placed = store.placed(tile.sha256, tile.review.sha256)
    cells, numbers = _drawn(placed, tile)
    files = {reviewer: found} if reviewer is not None else _of_reviewers(data, blank)
    matched = {person: match_names([names], cells) for person, names in files.items()}
    now = datetime.now(UTC)
    # Where reviewers tie, the last one counts; each therefore gets a time of its own.
    given: list[tuple[str, str, str | None, datetime]] = [
        (placed[numbers[cell]].id, person, name, now + timedelta(microseconds=i))
        for i, (person, one) in enumerate(matched.items())
        for cell, name in zip(one.cells.tolist(), one.names, strict=True)
    ]
    unmatched = _unmatched(found, list(matched.values()))
    if not given:
        raise InvalidParameter(f"No object of the file names a cell of this tile. {' '.join(unmatched[:5])}".rstrip())
    new_types = _new_types([name for _, _, name, _ in given if name is not None], data) if add_types else {}
    return Imported(
        n_named=len({cell for cell, *_ in given}),
        n_changed=store.put_names(given, tile.review, new_types),
        n_unmatched=sum(len(one.unmatched) for one in matched.values()),
        unmatched=unmatched,
    )


def _of_reviewers(data: bytes, tile: Tile) -> dict[str, NamesOfFile]:
    """Return what each reviewer says in a file of `exported`, the one who has given the last name last.

    Raises:
        InvalidParameter: the file does not say who gave the names.
    """
    features = [feature for feature in _features_of(data) if _names(feature)]
    if not features:
        raise InvalidParameter("The file does not say who gave the names; say it with --reviewer.")
    latest: dict[str, str] = {}
    for name in (name for feature in features for name in _names(feature)):
        person = checked_text(str(name.get("reviewer", "")), "The name of a reviewer", MAX_PERSON)
        latest[person] = max(latest.get(person, ""), str(name.get("when", "")))
    return {
        person: read_names(
            json.dumps([one for feature in features for one in _as_named_by(person, feature)]).encode(), tile
        )
        for person in sorted(latest, key=lambda person: latest[person])
    }


def tile_said(data: bytes) -> str | None:
    """Return the checksum of the tile that a file of `exported` says that it belongs to; None if it says none."""
    try:
        content = json.loads(data.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return None
    tile = content.get("tile") if isinstance(content, dict) else None
    said = tile.get("sha256") if isinstance(tile, dict) else None
    return said if isinstance(said, str) else None


def _features_of(data: bytes) -> list[dict[str, Any]]:
    content = json.loads(data.removeprefix(codecs.BOM_UTF8))
    features = content.get("features", []) if isinstance(content, dict) else content
    return [feature for feature in features if isinstance(feature, dict)] if isinstance(features, list) else []


def _names(feature: Mapping[str, Any]) -> list[dict[str, Any]]:
    properties = feature.get("properties")
    names = properties.get("names") if isinstance(properties, dict) else None
    return [name for name in names if isinstance(name, dict)] if isinstance(names, list) else []


def _as_named_by(person: str, feature: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a feature as a reviewer has named it, if the reviewer has."""
    for name in _names(feature):
        if str(name.get("reviewer", "")).strip() == person:
            yield {
                **feature,
                "properties": {**feature["properties"], "classification": {"name": str(name.get("type", ""))}},
            }


def _new_types(names: Sequence[str], data: bytes) -> dict[str, str | None]:
    """Return the types that a file gives, each once, with their colours in the file, if it has any."""
    colors = _colors(data)
    return {name: colors.get(name) for name in dict.fromkeys(checked_type(name) for name in names)}


def _colors(data: bytes) -> dict[str, str]:
    """Return the colour of each class that has one in a file, by its name."""
    found = {}
    for feature in _features_of(data):
        properties = feature.get("properties")
        classified = properties.get("classification") if isinstance(properties, dict) else None
        if isinstance(classified, dict) and isinstance(classified.get("name"), str):
            color = classified.get("color")
            if isinstance(color, list) and len(color) == 3 and all(isinstance(part, int) for part in color):
                found[classified["name"]] = "#" + bytes(min(max(part, 0), 255) for part in color).hex()
    return found


def _drawn(placed: Sequence[PlacedCell], tile: ReviewTile) -> tuple[Cells, list[int]]:
    """Return the cells of a tile as the matching takes them, and for each of them its place in `placed`."""
    rings = [(np.array(ring[:-1]), i) for i, cell in enumerate(placed) for ring in cell.outline]
    outlines = Outlines(
        points=np.concatenate([np.zeros((0, 2)), *(ring for ring, _ in rings)]),
        lengths=np.array([len(ring) for ring, _ in rings], np.int64),
        owners=np.array([i for _, i in rings], np.int64),
        number=len(placed),
    )
    drawn = draw_outlines(outlines, (tile.height, tile.width), 1)
    cells = Cells(drawn.nuclei, np.zeros((len(drawn.nuclei), 1), np.float32), (tile.width, tile.height))
    return cells, (drawn.numbers - 1).tolist()


def _unmatched(found: NamesOfFile, matched: Sequence[MatchedNames]) -> list[str]:
    lost = [f"'{one.name}' at ({one.x:.0f}, {one.y:.0f}): {one.reason}." for each in matched for one in each.unmatched]
    skipped = [f"{n} {'object' if n == 1 else 'objects'} {reason}." for reason, n in found.skipped.items()]
    disagreed = [sentence for each in matched for sentence in each.disagreements]
    listed = lost[:MAX_LISTED] + ([f"And {len(lost) - MAX_LISTED} more."] if len(lost) > MAX_LISTED else [])
    return skipped + listed + disagreed[:MAX_LISTED]
