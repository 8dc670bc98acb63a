"""The slide from afar, with the tissue and the regions outlined."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import shapely

from app.batch.plan.plan import Region
from app.pipeline.types import BoolArray, UInt8Array

TISSUE = (93, 47, 142)
REGION = (213, 94, 0)
"""RGB: the page's accent, and a colour that stands out from H&E."""
JPEG_QUALITY = 85


def overview_jpg(pixels: UInt8Array, tissue: BoolArray, regions: Sequence[Region], downsample: float) -> bytes:
    """Draw the outlines, and each region's number, from 1, in the order of the plan.

    Args:
        pixels: (H, W, 3) uint8 RGB of the whole slide.
        tissue: (h, w) bool of the whole slide, at any scale.
        regions: of the plan.
        downsample: level-0 px per px of `pixels`.

    Returns:
        JPEG, W x H px.
    """
    height, width = pixels.shape[:2]
    line = max(1, round(max(width, height) / 500))
    drawn = np.ascontiguousarray(pixels[:, :, ::-1])
    mask = cv2.resize(tissue.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    outlines = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
    cv2.drawContours(drawn, outlines, -1, TISSUE[::-1], line)
    for number, region in enumerate(regions, start=1):
        _outline(drawn, shapely.from_wkt(region.wkt), str(number), downsample, line)
    return cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _outline(drawn: UInt8Array, area: shapely.Geometry, text: str, downsample: float, line: int) -> None:
    for part in shapely.get_parts(area):
        rings = [
            np.rint(shapely.get_coordinates(ring) / downsample).astype(np.int32) for ring in shapely.get_rings(part)
        ]
        cv2.polylines(drawn, rings, True, REGION[::-1], 2 * line, cv2.LINE_AA)
    place = np.rint(shapely.get_coordinates(shapely.point_on_surface(area))[0] / downsample).astype(int)
    for color, thickness in (((255, 255, 255), 6 * line), (REGION[::-1], 2 * line)):
        cv2.putText(
            drawn, text, place.tolist(), cv2.FONT_HERSHEY_SIMPLEX, 0.5 + 0.5 * line, color, thickness, cv2.LINE_AA
        )
