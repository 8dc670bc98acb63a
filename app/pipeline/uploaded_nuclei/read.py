"""Nuclei that somebody uploads with a tile, to be used in place of those that the bundle would find.

They come as GeoJSON of polygons, as QuPath and CellViT write it, or as a label image. Coordinates are those of our own
GeoJSON: pixels of the upload, edges of pixels (see `geometry`).
"""

from __future__ import annotations

import codecs
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import cv2
import numpy as np
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from pydantic_core import from_json

from app.pipeline.decode import reader_of
from app.pipeline.errors import InvalidNuclei, PipelineError, TooManyNuclei
from app.pipeline.headers.inputs import other_format
from app.pipeline.headers.tiff_directories import HEADERS
from app.pipeline.headers.tiff_pages import BITS, PHOTOMETRIC, as_stored, check_block, check_single, pages_of
from app.pipeline.presets import SegmentationParams, ThresholdParams
from app.pipeline.quality.assess import Flag
from app.pipeline.types import Float64Array, Int32Array, Nuclei, Segmentation, Tile
from app.pipeline.uploaded_nuclei.draw import (
    MAX_LENGTH_PX,
    DrawnNuclei,
    Outlines,
    draw_numbers,
    draw_outlines,
    enlarged,
)
from app.pipeline.uploaded_nuclei.qupath import ANNOTATION, CELL, QuPathObject, objects_of

UploadMethod = Literal["geojson", "label_image"]
MAX_NUCLEI = 65_535
"""Largest number of nuclei of one tile: a label image of 16 bits has no more."""
MAX_POINTS = 2_000_000
"""Largest number of points of all outlines of one tile together."""
MAX_COORDINATE = 1e7
"""Largest coordinate, px: no slide is wider."""
DETECTIONS = ("detection", CELL)
"""Kinds of objects of QuPath's that are nuclei, or have one."""
GREY_MODES = ("L", "I", "I;16", "I;16B", "I;16L")
"""Pillow's names of grey pixels that are whole numbers."""
OTHER_MODES = {"1": "1 bit, as a mask has", "F": "fractions", "P": "a palette of colours"}
"""What other pixels are, by Pillow's names; all that have none here are colours or transparent."""
MAX_IN_PIECES = 0.1
"""Largest share of the numbers of a label image that may stand for a further piece as large as a nucleus."""
MAX_BITS = 32
"""Largest number of bits of a pixel of a label image."""
UPLOADED = (
    "The nuclei were uploaded, and not found by the bundle ({form}). The bundle's limits, its reference tiles and the "
    "model of the label rest on nuclei that it found itself: proportions and label may not be comparable with theirs."
)
LARGE = f"longer than {MAX_LENGTH_PX} px at the bundle's scale or as large as the whole picture, as regions are"
NO_POLYGON, NO_NUCLEUS, NO_AREA = "features without a polygon", "cells without a nucleus", "without an area"
IN_PIECES = "in several pieces, of which the largest was kept"
"""What is said of polygons and features that are no nuclei as they came."""
NUCLEI = "nuclei"
"""What the files of this module hold, in messages; others that read GeoJSON say what theirs hold."""
FORMS = {"geojson": "GeoJSON", "label_image": "a label image"}


@dataclass(frozen=True, slots=True)
class UploadedNuclei:
    """The nuclei of a tile as they were uploaded.

    Attributes:
        method: the form in which they came.
        sha256: hex digest of the uploaded bytes.
        number: how many they are.
        found: their outlines, in px of the upload; or a label image (H, W) int32 of the upload's size, 0 = background.
        skipped: what else came and is no nucleus: how many, by the words for it.
    """

    method: UploadMethod
    sha256: str
    number: int
    found: Outlines | Int32Array
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def segmentation(self) -> Segmentation:
        """What found the nuclei, for the answer."""
        return Segmentation("upload", self.method, upload_sha256=self.sha256)

    def draw(self, tile: Tile, shape: tuple[int, ...], params: SegmentationParams) -> tuple[Nuclei, tuple[Flag, ...]]:
        """Draw the nuclei at the analysed scale.

        Args:
            tile: the upload.
            shape: (H, W, …) of the analysed tile.
            params: how the bundle finds nuclei, which says how small one may be.

        Returns:
            The nuclei in reading order of their topmost pixel, and the flags of what a reader should know about them.

        Raises:
            InvalidNuclei: no nucleus lies within the tile, or the label image is a mask.
            TooManyNuclei: the nuclei are far too large for nuclei.
        """
        height, width = shape[:2]
        min_area_px = min_nucleus_px(params)
        if isinstance(self.found, Outlines):
            scale = np.array([width / tile.width, height / tile.height])
            drawn = draw_outlines(self.found.moved(scale, np.zeros(2)), (height, width), min_area_px)
            if self.number and drawn.outside == self.number:
                raise InvalidNuclei(
                    f"None of the {self.number} nuclei lies within the tile of {tile.width} x {tile.height} px. Their "
                    "coordinates must be pixels of this tile, and not µm or pixels of a slide."
                )
        else:
            if height * width > self.found.size:
                numbers = enlarged(self.found, shape)
            else:
                nearest = cv2.resize(self.found, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
                numbers = np.asarray(nearest, dtype=np.int32)
            drawn = draw_numbers(numbers, min_area_px)
            self._check_no_mask(drawn)
        return drawn.nuclei, upload_flags(self.method, self._dropped(drawn, min_area_px))

    def _check_no_mask(self, drawn: DrawnNuclei) -> None:
        if drawn.pieces > self.number + max(1, self.number * MAX_IN_PIECES):
            numbers = "one number" if self.number == 1 else f"{self.number} different numbers"
            raise InvalidNuclei(
                f"The label image has {numbers} in {drawn.pieces} separate pieces, as a mask has, and as 8 bits have "
                "for more than 255 nuclei: give each nucleus a number of its own."
            )

    def _dropped(self, drawn: DrawnNuclei, min_area_px: int) -> Mapping[str, int]:
        """Return how many of what was uploaded are no nuclei as they came, by the reason."""
        # Nuclei of a label image that vanish at a coarser scale are too small, too.
        small = self.number - len(drawn.nuclei) - drawn.outside - drawn.large - drawn.covered
        return {
            "outside the tile": drawn.outside,
            LARGE: drawn.large,
            "mostly covered by nuclei before them": drawn.covered,
            f"smaller than {min_area_px} px at the bundle's scale": small,
            IN_PIECES: int(drawn.in_pieces.sum()),
            **self.skipped,
        }


def upload_flags(method: UploadMethod, dropped: Mapping[str, int]) -> tuple[Flag, ...]:
    """Return the flags of nuclei that were uploaded: that they were, and how many are no nuclei as they came.

    Args:
        method: the form in which they came.
        dropped: how many were left out or cut down, by the reason.
    """
    uploaded = Flag("nuclei_uploaded", UPLOADED.format(form=FORMS[method]))
    counts = {reason: n for reason, n in dropped.items() if n}
    if not counts:
        return (uploaded,)
    listed = "; ".join(f"{n} {reason}" for reason, n in counts.items())
    message = f"Not everything that was uploaded is a nucleus as it came: {listed}."
    return (uploaded, Flag("upload_nuclei_dropped", message, sum(counts.values()), 0))


def min_nucleus_px(params: SegmentationParams) -> int:
    """Return the area of the smallest nucleus that a preset finds, px at the bundle's scale."""
    return params.min_fragment_px if isinstance(params, ThresholdParams) else params.min_area_px


def read_nuclei(data: bytes, tile: Tile, max_pixels: int) -> UploadedNuclei:
    """Read the nuclei that were uploaded with a tile.

    Args:
        data: GeoJSON, or a label image as PNG or TIFF: grey, 8 or 16 bits (32 in a TIFF), of the tile's size.
        tile: the tile.
        max_pixels: largest block of a TIFF.

    Raises:
        InvalidNuclei: the bytes are neither, or what they hold cannot be used; the text says what and where.
        TooManyNuclei: there are more nuclei or points than allowed.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    if reader_of(data) is not None:
        numbers = _read_label_image(data, tile, max_pixels)
        number = len(np.unique(numbers[numbers != 0]))
        _check_number(number)
        return UploadedNuclei("label_image", sha256, number, numbers)
    content = read_json(data, NUCLEI, "a label image as PNG or TIFF")
    check_tile(content, tile, NUCLEI)
    outlines, skipped = read_outlines(content)
    return UploadedNuclei("geojson", sha256, outlines.number, outlines, skipped)


def read_outlines(content: object) -> tuple[Outlines, Mapping[str, int]]:
    """Return the nuclei of a GeoJSON document, and what else it holds.

    Each polygon is a nucleus, also those of a MultiPolygon, in which CellViT writes all cells of a type. Of a cell that
    has a nucleus, its nucleus is taken. Annotations are nuclei only if there are no detections and no cells: otherwise
    they are the regions in which these were sought.

    Args:
        content: the document as Python's values.

    Raises:
        InvalidNuclei: it is not GeoJSON, or has features and no polygon, or a feature's coordinates make no polygon.
        TooManyNuclei: there are more nuclei or points than allowed.
    """
    try:
        features = list(islice(objects_of(content), MAX_NUCLEI + 1))
    except TypeError as error:
        raise InvalidNuclei(
            f"The nuclei are JSON, but not GeoJSON: {error}. Send a FeatureCollection, a list of features, or one "
            "feature."
        ) from error
    _check_number(len(features))
    collected = _Collected()
    has_detections = any(feature.kind in DETECTIONS for feature in features)
    for number, feature in enumerate(features, 1):
        if feature.kind in DETECTIONS or (feature.kind == ANNOTATION and not has_detections):
            collected.add(feature, number)
        else:
            collected.skipped[of_kind(feature.kind)] += 1
    if features and not collected.n_polygons:
        raise InvalidNuclei(
            f"The file holds no polygon of a nucleus (found: {collected.geometries()}). A nucleus needs an outline of "
            "the type Polygon or MultiPolygon."
        )
    return collected.outlines(), collected.skipped


class _Collected:
    """The polygons that were read so far."""

    def __init__(self) -> None:
        self.rings: list[Float64Array] = []
        self.owners: list[int] = []
        self.n_points = self.n_nuclei = self.n_polygons = 0
        self.types: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()

    def add(self, feature: QuPathObject, number: int) -> None:
        """Add the nuclei of a feature, which is the one of this number in its file."""
        polygons = polygons_of(feature, number)
        if not polygons:
            reason = why_no_polygon(feature)
            self.skipped[reason] += 1
            geometry = str((feature.geometry or {}).get("type", "no geometry"))[:40]
            self.types[reason if reason == NO_NUCLEUS else geometry] += 1
        for polygon in polygons:
            self._add_polygon(polygon)

    def _add_polygon(self, rings: list[Float64Array]) -> None:
        self.n_polygons += 1
        if not rings:
            self.skipped[NO_AREA] += 1
            return
        self.rings += rings
        self.owners += [self.n_nuclei] * len(rings)
        self.n_nuclei += 1
        self.n_points += sum(map(len, rings))
        _check_number(self.n_nuclei)
        if self.n_points > MAX_POINTS:
            raise TooManyNuclei(f"The outlines of the nuclei may have at most {MAX_POINTS} points; simplify them.")

    def outlines(self) -> Outlines:
        """Return the polygons that have an area."""
        return Outlines(
            points=np.concatenate([np.zeros((0, 2)), *self.rings]),
            lengths=np.array([len(ring) for ring in self.rings], np.int64),
            owners=np.array(self.owners, np.int64),
            number=self.n_nuclei,
        )

    def geometries(self) -> str:
        """Return what there is beside polygons, and how many of each, in words."""
        return ", ".join(f"{n} {name}" for name, n in (self.types or self.skipped).most_common(3))


def of_kind(kind: str) -> str:
    """Return what is said of objects of a kind that has no nuclei."""
    return f"of the kind {kind}, which is not that of a nucleus"


def why_no_polygon(feature: QuPathObject) -> str:
    """Return what is said of a feature that has no polygon of a nucleus."""
    return NO_NUCLEUS if feature.kind == CELL and feature.nucleus is None else NO_POLYGON


def polygons_of(feature: QuPathObject, number: int, what: str = NUCLEI) -> list[list[Float64Array]]:
    """Return the polygons of a feature. Of a cell, they are those of its nucleus: its own outline is no nucleus.

    Args:
        feature: the feature.
        number: its number in its file, from 1, for messages.
        what: what the file holds, for messages.

    Returns:
        For each polygon its rings, (V, 2) float64 x, y, the first one not repeated at the end; no ring if it has no
        area.

    Raises:
        InvalidNuclei: the coordinates make no polygon.
    """
    polygons = []
    outline = feature.nucleus if feature.nucleus or feature.kind == CELL else feature.geometry
    for polygon in _polygons(outline or {}, number, what):
        rings = [_ring(ring, number, what) for ring in polygon]
        polygons.append([ring for ring in rings if len(ring)] if rings and len(rings[0]) >= 3 else [])
    return polygons


def _polygons(geometry: Mapping[str, Any], number: int, what: str) -> Iterator[list[Any]]:
    """Yield the polygons of a geometry as lists of rings."""
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection":
        parts = geometry.get("geometries")
        for part in parts if isinstance(parts, list) else []:
            yield from _polygons(part if isinstance(part, dict) else {}, number, what)
    elif kind in ("Polygon", "MultiPolygon"):
        polygons = [coordinates] if kind == "Polygon" else coordinates
        if not isinstance(polygons, list) or not all(isinstance(polygon, list) for polygon in polygons):
            raise InvalidNuclei(f"Feature {number} of the {what}: its coordinates make no {kind}.")
        yield from polygons


def _ring(ring: object, number: int, what: str) -> Float64Array:
    """Return (V, 2) float64 points of a ring, the first one not repeated at the end."""
    points = read_points(ring, number, what)
    return points[:-1] if len(points) > 1 and (points[0] == points[-1]).all() else points


def read_points(given: object, number: int, what: str) -> Float64Array:
    """Return points of GeoJSON as an array.

    Args:
        given: a list of points [x, y], as Python's values.
        number: the number of their feature in its file, from 1, for messages.
        what: what the file holds, for messages.

    Returns:
        (V, 2) float64 x, y.

    Raises:
        InvalidNuclei: they are no points, or a coordinate is not finite or far too large.
    """
    try:
        points = np.asarray(np.zeros((0, 2)) if given == [] else given)
    except ValueError:  # lists of different lengths
        points = np.zeros(0)
    if points.dtype.kind not in "iuf" or points.ndim != 2 or points.shape[1] < 2:
        raise InvalidNuclei(
            f"Feature {number} of the {what}: its coordinates are no rings of points [x, y]; see RFC 7946, section 3.1."
        )
    points = points[:, :2].astype(np.float64)
    if not (np.abs(points) <= MAX_COORDINATE).all():  # NaN is not, either
        raise InvalidNuclei(
            f"Feature {number} of the {what}: a coordinate is not a finite number between ±{MAX_COORDINATE:.0f} px."
        )
    return points


def _check_number(number: int) -> None:
    if number > MAX_NUCLEI:
        raise TooManyNuclei(f"A tile may have at most {MAX_NUCLEI} nuclei or other features; divide it.")


def read_json(data: bytes, what: str, or_else: str = "") -> object:
    """Read GeoJSON as Python's values, without looking at what it holds.

    Args:
        data: the bytes of the file.
        what: what the file holds, for messages.
        or_else: what the file may be instead of GeoJSON, for messages.

    Raises:
        InvalidNuclei: it is no JSON in UTF-8; the text says what it is, as far as that is known.
    """
    if not data:
        raise InvalidNuclei(f"The {what} are empty (0 bytes).")
    if other := other_format(data):
        more = f", or {or_else}" if or_else else ""
        raise InvalidNuclei(f"The {what} are {other}; send GeoJSON, unpacked{more}.")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidNuclei(f"The {what} are text in UTF-16 or UTF-32, which is not read; save the file as UTF-8.")
    try:
        return from_json(data.removeprefix(codecs.BOM_UTF8), cache_strings="keys")
    except ValueError as error:
        are = f"neither GeoJSON nor {or_else}" if or_else else "not GeoJSON"
        raise InvalidNuclei(f"The {what} are {are}. Read as JSON: {error}.") from error


def check_tile(content: object, tile: Tile, what: str) -> None:
    """Refuse our own GeoJSON of another tile, which says so: what it holds would lie elsewhere.

    Args:
        content: GeoJSON as Python's values.
        tile: the tile that it should belong to.
        what: what it holds, for messages.

    Raises:
        InvalidNuclei: it says that it belongs to another tile.
    """
    own = content.get("tile") if isinstance(content, dict) else None
    if not isinstance(own, dict):
        return
    size = own.get("width", tile.width), own.get("height", tile.height)
    if size != (tile.width, tile.height):
        raise InvalidNuclei(
            f"The {what} are those of another tile, of {size[0]!s:.9} x {size[1]!s:.9} px; this one has {tile.width} x "
            f"{tile.height}."
        )
    if own.get("sha256", tile.sha256) != tile.sha256:
        raise InvalidNuclei(
            f"The {what} are those of another file, with the SHA-256 {own['sha256']!s:.12}…; that of this tile is "
            f"{tile.sha256:.12}…. If both show the same picture, take the member `tile` out of the GeoJSON."
        )


def _read_label_image(data: bytes, tile: Tile, max_pixels: int) -> Int32Array:
    """Return the numbers of a label image, (H, W) int32; large ones become negative, and stay different.

    Raises:
        InvalidNuclei: it cannot be read, has another size than the tile, or is not grey.
    """
    try:
        image = _opened(data, max_pixels)
        if image.size != (tile.width, tile.height):
            raise InvalidNuclei(
                f"The label image must have the size of the tile, {tile.width} x {tile.height} px; found "
                f"{image.width} x {image.height}."
            )
        if image.mode not in GREY_MODES:
            raise InvalidNuclei(
                "A label image must be grey, with a whole number of 8, 16 or 32 bits for each pixel; found "
                f"{OTHER_MODES.get(image.mode, 'colours or transparency')}. Save it as a grey PNG of 16 bits, in which "
                "each nucleus has a number of its own."
            )
        numbers = np.ascontiguousarray(image).astype(np.int32)
        # Pillow turns numbers of 8 bits round where a TIFF says that 0 is white, as ImageJ says of masks.
        is_turned = image.mode == "L" and isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == 0
        return 255 - numbers if is_turned else numbers
    except (InvalidNuclei, MemoryError):
        raise
    except PipelineError as error:
        raise InvalidNuclei(f"The label image cannot be read. {error}") from error
    except Exception as error:  # Pillow's decoders report damage with exceptions of many kinds
        raise InvalidNuclei(
            "The label image is damaged or truncated, or of a kind that is not read; save it as a grey PNG of 16 bits."
        ) from error


def _opened(data: bytes, max_pixels: int) -> ImageFile:
    """Return a PNG or TIFF whose header was read."""
    if reader_of(data) is PngImageFile:
        return PngImageFile(io.BytesIO(data))
    if data[:4] not in HEADERS:
        raise InvalidNuclei("The nuclei are a JPEG, which changes the numbers of a label image; send a PNG.")
    pages = pages_of(data)
    check_single(pages)
    check_block(pages[0], max_pixels)
    bits = int(max(pages[0].numbers(BITS), default=1))
    if bits > MAX_BITS:
        raise InvalidNuclei(
            f"A label image may have at most {MAX_BITS} bits for each pixel; found {bits}. Save it with 16 or 32."
        )
    return TiffImageFile(io.BytesIO(as_stored(data, pages[0])))
