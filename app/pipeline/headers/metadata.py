"""What a file says about its picture besides the pixels: its scale, how a viewer would turn it, and its colours.

No pixel changes because of it. The scale is used, and of the rest the reader of an answer is told.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.pipeline.headers.declared_scale import (
    DeclaredScale,
    scale_of_jpeg,
    scale_of_png,
    scale_of_resolution,
    scale_of_tiff,
)
from app.pipeline.headers.tiff_directories import Directory, directories

if TYPE_CHECKING:
    from PIL import Image

DESCRIPTION, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 270, 274, 282, 283, 296
"""Tags of TIFF and EXIF."""
METADATA_TAGS = frozenset({DESCRIPTION, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT})
AS_STORED = 1
"""Value of the tag Orientation of a picture that is shown as its pixels are stored."""
EXIF_PREFIX = b"Exif\0\0"
UNNAMED = "without a name"
MAX_NAME = 80
"""Characters of a profile's name that are repeated."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file says about its picture.

    Attributes:
        scale: the scale that it declares; None if it declares none.
        orientation: the tag Orientation of TIFF and EXIF, 1 to 8; 1 if there is none.
        color_profile: name of the embedded ICC profile; None if there is none, or if it is sRGB.
    """

    scale: DeclaredScale | None = None
    orientation: int = AS_STORED
    color_profile: str | None = None


NOTHING = Metadata()
"""What a file says that says nothing."""


def metadata_of_tiff(page: Directory, icc_profile: bytes | None) -> Metadata:
    """Return what the directory of a TIFF's page says.

    Args:
        page: a directory with the fields METADATA_TAGS.
        icc_profile: the embedded ICC profile; None if there is none.
    """
    scale = scale_of_tiff(page.text(DESCRIPTION), *_resolution(page))
    return Metadata(scale, _orientation(page), profile_name(icc_profile))


def metadata_of(image: Image.Image) -> Metadata:
    """Return what a PNG or JPEG says.

    Args:
        image: the picture, loaded, because some of it may stand behind the pixels.
    """
    info = image.info
    exif = next(directories(info.get("exif", b"").removeprefix(EXIF_PREFIX), METADATA_TAGS), None)
    if image.format == "PNG":
        scale = scale_of_png(info.get("dpi"))
    else:
        scale = scale_of_jpeg(info.get("jfif_density"), info.get("jfif_unit"))
        if scale is None and exif is not None:
            scale = scale_of_resolution(*_resolution(exif), "jfif")
    orientation = AS_STORED if exif is None else _orientation(exif)
    return Metadata(scale, orientation, profile_name(info.get("icc_profile")))


def profile_name(profile: bytes | None) -> str | None:
    """Return the name of an ICC profile that makes a picture look otherwise than its pixels as sRGB do.

    Args:
        profile: the profile; None or empty if there is none.

    Returns:
        The profile's description, or UNNAMED; None if there is no profile, or if its description says sRGB.
    """
    if not profile:
        return None
    name = " ".join(_description(profile).split())[:MAX_NAME]
    is_srgb = "srgb" in name.lower() and "linear" not in name.lower()
    return None if is_srgb else name or UNNAMED


def _description(profile: bytes) -> str:
    """Return the text of a profile's tag desc (ICC.1:2001-04, 6.5.17; ICC.1:2022, 10.15); empty if there is none."""
    for at in range(132, min(len(profile) - 11, 132 + 12 * 100), 12):
        if profile[at : at + 4] == b"desc":
            start, size = struct.unpack_from(">2I", profile, at + 4)
            return _text(profile[start : start + min(size, 10_000)])
    return ""


def _text(element: bytes) -> str:
    if element[:4] == b"mluc" and len(element) >= 28:
        size, start = struct.unpack_from(">2I", element, 20)
        return element[start : start + size].decode("utf-16-be", "replace")
    return element[12:].partition(b"\0")[0].decode("latin-1")


def _resolution(page: Directory) -> tuple[tuple[float | None, float | None], int]:
    """Return pixels per unit along x and y, and the unit."""
    return (page.number(X_RESOLUTION), page.number(Y_RESOLUTION)), page.whole(RESOLUTION_UNIT)


def _orientation(page: Directory) -> int:
    found = page.whole(ORIENTATION, AS_STORED)
    return found if 1 <= found <= 8 else AS_STORED
