"""What a file says about its scale: µm per pixel, from the metadata of a TIFF, a PNG, a JPEG or a scanner.

Files come from strangers, so that nothing here trusts them: of a description only the beginning is read, XML is read
up to the one element that matters and may declare no entities, and a value that no microscope has counts as none.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from xml.parsers import expat

from app.pipeline.errors import UnequalAxes
from app.pipeline.headers.inputs import is_possible_mpp

ScaleSource = Literal[
    "ome_xml", "imagej", "aperio", "tiff_resolution", "png_phys", "jfif", "objective", "slide_metadata"
]
"""Where in a file a scale was found."""
MppSource = Literal["request", ScaleSource, "bundle"]
"""Where the scale of a tile comes from: the request, the file, or, where neither says it, the bundle."""

MAX_DIFFERENCE = 0.03
"""Largest difference of both axes, as a share of their mean, that is rounding and not another shape of pixel."""
MAX_TEXT = 2**20
"""Characters of a description that are read. What matters stands at its beginning."""
UM_PER_TAG_UNIT = {2: 25_400.0, 3: 10_000.0}
"""µm per inch and per cm, by the value of the tag ResolutionUnit of TIFF and EXIF."""
UM_PER_UNIT = {
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "µm": 1.0,  # the micro sign
    "μm": 1.0,  # the Greek letter
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "\\u00B5m": 1.0,  # as ImageJ writes it
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}
"""µm per unit of OME and ImageJ."""
UM_OF_OBJECTIVE = 10.0
"""µm per pixel of an objective of power 1: a scanner has about 0.25 µm at 40×, and 0.5 µm at 20×."""


@dataclass(frozen=True, slots=True)
class DeclaredScale:
    """The scale that a file declares.

    Attributes:
        mpp_x: µm per pixel along x, within MPP_RANGE.
        mpp_y: µm per pixel along y, within MPP_RANGE.
        source: where it was found.
    """

    mpp_x: float
    mpp_y: float
    source: ScaleSource

    @property
    def text(self) -> str:
        """Both values as a message shows them, without a unit; one value where they are equal."""
        if self.mpp_x == self.mpp_y:
            return f"{self.mpp_x:.4g}"
        return f"{self.mpp_x:.4g} along x and {self.mpp_y:.4g} along y"

    def square_mpp(self) -> float:
        """Return µm per pixel of both axes: their mean.

        Raises:
            UnequalAxes: they differ by more than MAX_DIFFERENCE.
        """
        mean = (self.mpp_x + self.mpp_y) / 2
        if abs(self.mpp_x - self.mpp_y) > MAX_DIFFERENCE * mean:
            raise UnequalAxes(
                f"The file says that its pixels are not square: they have {self.mpp_x:.4g} µm along x and "
                f"{self.mpp_y:.4g} µm along y ({self.source}). Only square pixels can be analysed. If the "
                "file is wrong, give mpp: it is then used for both axes."
            )
        return mean


def chosen_mpp(requested: float | None, declared: DeclaredScale | None) -> tuple[float | None, MppSource]:
    """Return µm per pixel and where they come from: the request comes first, and then the file.

    Args:
        requested: µm per pixel that the request gave; None if it gave none.
        declared: the scale that the file declares; None if it declares none.

    Returns:
        µm per pixel, None where neither says it and the bundle's are taken; and the source.

    Raises:
        UnequalAxes: the request gave none, and the file says that its pixels are not square.
    """
    if requested is not None:
        return requested, "request"
    return (None, "bundle") if declared is None else (declared.square_mpp(), declared.source)


def scale_of_axes(mpp_x: float | None, mpp_y: float | None, source: ScaleSource) -> DeclaredScale | None:
    """Return a scale without values that no microscope has: a printer's 72 dpi, for example, are 353 µm per pixel.

    Args:
        mpp_x: µm per pixel along x; None if the file does not say it.
        mpp_y: µm per pixel along y; None if the file does not say it.
        source: where they were found.

    Returns:
        The scale; where one axis alone has a possible value, it is taken for both. None if neither has one.
    """
    x, y = (mpp if mpp is not None and is_possible_mpp(mpp) else None for mpp in (mpp_x, mpp_y))
    if x is None:
        return None if y is None else DeclaredScale(y, y, source)
    return DeclaredScale(x, x if y is None else y, source)


def scale_of_objective(power: float | None) -> DeclaredScale | None:
    """Return the scale that scanners usually have with an objective, such as 0.25 µm per pixel at 40×.

    It is a last resort, for files that say nothing else.

    Args:
        power: magnification of the objective; None if the file does not say it.
    """
    mpp = UM_OF_OBJECTIVE / power if power is not None and power > 0 else None
    return scale_of_axes(mpp, mpp, "objective")


def scale_of_tiff(
    description: str, resolution: tuple[float | None, float | None], unit: int | None
) -> DeclaredScale | None:
    """Return the scale of a TIFF's first picture.

    OME's XML, ImageJ and Aperio say it in the description, and are asked before the resolution tags, which many
    programs fill with the resolution of a screen. The objective of an Aperio file is asked last.

    Args:
        description: the tag ImageDescription; empty if there is none.
        resolution: the tags XResolution and YResolution, pixels per unit; None where there is none.
        unit: the tag ResolutionUnit; None if there is none.
    """
    text = description[:MAX_TEXT]
    aperio = _aperio_fields(text)
    mpp = number(aperio.get("MPP"))
    return (
        _ome_scale(text)
        or _imagej_scale(text, resolution)
        or scale_of_axes(mpp, mpp, "aperio")
        or scale_of_resolution(resolution, unit, "tiff_resolution")
        or scale_of_objective(number(aperio.get("AppMag")))
    )


def scale_of_resolution(
    resolution: tuple[float | None, float | None], unit: int | None, source: ScaleSource
) -> DeclaredScale | None:
    """Return the scale of a number of pixels per inch or cm.

    Args:
        resolution: pixels per unit along x and y; None where the file does not say it.
        unit: 2 for inches, 3 for cm, as in the tag ResolutionUnit; all else is no unit.
        source: where they were found.
    """
    return scale_of_axes(*_um_per_px(resolution, UM_PER_TAG_UNIT.get(unit or 1)), source)


def scale_of_png(dpi: tuple[float, float] | None) -> DeclaredScale | None:
    """Return the scale of a PNG's chunk pHYs.

    Args:
        dpi: pixels per inch along x and y, as Pillow converts them from metres; None if there is none.
    """
    return scale_of_resolution(dpi or (None, None), 2, "png_phys")


def scale_of_jpeg(density: tuple[float, float] | None, unit: int | None) -> DeclaredScale | None:
    """Return the scale of a JPEG's JFIF header.

    Args:
        density: pixels per unit along x and y; None if there is none.
        unit: 1 for inches, 2 for cm, 0 for none, as JFIF has it.
    """
    return scale_of_resolution(density or (None, None), {1: 2, 2: 3}.get(unit or 0), "jfif")


def number(text: str | None) -> float | None:
    """Return the finite number that a text is, with a point or a comma; None if it is none."""
    try:
        value = float((text or "")[:100].replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _um_per_px(per_unit: tuple[float | None, float | None], um: float | None) -> tuple[float | None, float | None]:
    """Return µm per pixel along x and y of pixels per unit; None where the unit or the number is not known."""
    x, y = (um / each if um and each and each > 0 else None for each in per_unit)
    return x, y


def _aperio_fields(text: str) -> dict[str, str]:
    """Return what an Aperio description lists, such as AppMag = 20|MPP = 0.499; nothing of any other description."""
    if not text.startswith("Aperio"):
        return {}
    pairs = (field.partition("=") for field in text.split("|"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _imagej_scale(text: str, resolution: tuple[float | None, float | None]) -> DeclaredScale | None:
    """Return the scale of an ImageJ description, which names the unit of the resolution tags."""
    if not text.startswith("ImageJ="):
        return None
    pairs = (line.partition("=") for line in text.splitlines())
    fields = {name: value.strip() for name, _, value in pairs}
    unit_x = fields.get("unit", "")
    x, _ = _um_per_px(resolution, UM_PER_UNIT.get(unit_x))
    _, y = _um_per_px(resolution, UM_PER_UNIT.get(fields.get("yunit", unit_x)))
    return scale_of_axes(x, y, "imagej")


def _ome_scale(text: str) -> DeclaredScale | None:
    """Return the scale of the first picture of OME's XML."""
    if "<OME" not in text and ":OME" not in text:
        return None
    found: list[dict[str, str]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] == "Pixels":
            found.append(attributes)
            raise _Enough

    def refuse_doctype(*_: object) -> None:
        raise _Enough  # a document type could define entities that expand to gigabytes; OME's XML has none

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse_doctype
    with suppress(_Enough, expat.ExpatError):
        parser.Parse(text, False)
    pixels = found[0] if found else {}
    x, y = (
        _product(
            number(pixels.get(f"PhysicalSize{axis}")), UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        )
        for axis in "XY"
    )
    return scale_of_axes(x, y, "ome_xml")


class _Enough(Exception):
    """Nothing after this place of the XML matters."""


def _product(size: float | None, um: float | None) -> float | None:
    return None if size is None or um is None else size * um
