"""Draw the inputs of the cases, under the names by which `table.CASES` calls them.

Each file says something about its pixels that an answer could pass over: another scale, another frame, a turn. Their
pixels are drawn, so that they may be kept and passed on.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

from bench.tiles import UInt8Array, drawn

SIDE = 400
"""Width and height of most inputs, px."""
NUCLEI = 400
"""Nuclei of the drawn tile of 1200 × 1200 px that all inputs are cut from."""
ORIENTATION = 274
"""Tag of TIFF and EXIF."""
TURNED = 6
"""The orientation of a picture that a viewer is to turn by a quarter, clockwise."""
JPEG_2000, PNG_IN_TIFF = 34712, 34933
"""Numbers of compressions of a TIFF."""

Box = tuple[float, float, float, float]


def draw_inputs(folder: Path) -> None:
    """Write every input into a folder, each in the folder of its case."""
    tile = drawn(NUCLEI)
    for name, write in {
        "01-qupath-bounds": _bounds,
        "03-declared-scale-ignored": _declared_scale,
        "04-detections-as-regions": _detections,
        "05-classification-forms": _classifications,
        "06-exif-orientation": _orientation,
        "07-anisotropic": _anisotropic,
        "08-svs-without-mpp": _without_mpp,
        "09-tiff-codecs": _codecs,
        "10-phone-jpeg": _phone,
        "11-long-name": _plain,
        "17-regions-dropped": _dropped,
        "18-pyramid-to-analyze": _pyramid,
    }.items():
        case = folder / name
        case.mkdir(parents=True)
        write(case, tile)


def _bounds(folder: Path, tile: UInt8Array) -> None:
    """Draw a slide whose scanned part lies on a larger canvas, and a region of it."""
    write_bounds(folder / "bounds.scn", tile[:512, :512])
    _write_regions(folder / "roi.geojson", [_feature((20, 20, 240, 240), objectType="annotation", name="Marrow")])


def write_bounds(path: Path, pixels: UInt8Array) -> Path:
    """Write a slide of Leica's that was scanned at 0.25 µm per pixel, on a canvas that is twice as wide and high.

    The scanned part begins at three eighths of the width of the canvas and a quarter of its height.

    Args:
        path: the file, whose name ends in .scn.
        pixels: (H, W, 3) uint8, H and W multiples of 16.
    """
    height, width = pixels.shape[:2]
    nm = int(2 * width * 250), int(2 * height * 250)
    small, macro = _reduced(pixels, 4), np.full((height // 4, width // 4, 3), 240, np.uint8)
    images = [
        _leica_image("macro", nm, (0, 0), 0.6, [(width // 4, height // 4, 0)]),
        _leica_image(
            "main",
            (nm[0] // 2, nm[1] // 2),
            (3 * nm[0] // 8, nm[1] // 4),
            40,
            [(width, height, 1), (width // 4, height // 4, 2)],
        ),
    ]
    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:0">'
        f'<collection name="slide" uuid="urn:uuid:1" sizeX="{nm[0]}" sizeY="{nm[1]}">'
        f"{''.join(images)}</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        _write_tiled(writer, macro, 256, description=text)
        _write_tiled(writer, pixels, 256, **_resolution(0.25, 0.25))
        _write_tiled(writer, small, 256, **_resolution(1, 1))
    return path


def _leica_image(
    name: str,
    size_nm: tuple[int, int],
    offset_nm: tuple[int, int],
    objective: float,
    levels: list[tuple[int, int, int]],
) -> str:
    """Return Leica's description of one picture of a slide, sizes in nm; levels are width, height and page."""
    pages = "".join(
        f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" ifd="{page}"/>' for r, (w, h, page) in enumerate(levels)
    )
    return (
        f'<image name="{name}" uuid="urn:uuid:{name}"><creationDate>2020-01-01T00:00:00Z</creationDate>'
        f'<device model="Leica SCN400;Leica SCN" version="1"/>'
        f'<pixels sizeX="{levels[0][0]}" sizeY="{levels[0][1]}">{pages}</pixels>'
        f'<view sizeX="{size_nm[0]}" sizeY="{size_nm[1]}" offsetX="{offset_nm[0]}" offsetY="{offset_nm[1]}"/>'
        f"<scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings><illuminationSettings>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
    )


def _declared_scale(folder: Path, tile: UInt8Array) -> None:
    """Draw the same picture at 0.5 µm per pixel, which OME's XML says in one file and the resolution in the other."""
    pixels = tile[:SIDE, :SIDE]
    write_ome(folder / "single.ome.tif", pixels)
    tifffile.imwrite(folder / "cm_tags.tif", pixels, photometric="rgb", metadata=None, **_resolution(0.5, 0.5))


def write_ome(path: Path, pixels: UInt8Array) -> Path:
    """Write an OME-TIFF of one level at 0.5 µm per pixel, from (H, W, 3) uint8 pixels."""
    micrometres = {f"PhysicalSize{axis}": 0.5 for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    tifffile.imwrite(path, pixels, photometric="rgb", metadata={"axes": "YXS", **micrometres})
    return path


def _detections(folder: Path, tile: UInt8Array) -> None:
    """Write one area and three nuclei as QuPath 0.2 and 0.3 did."""
    _plain(folder, tile)
    marrow, nuclei = (20, 20, 370, 370), [(x, 100, x + 15, 115) for x in (60, 120, 180)]
    old = [_feature(marrow, id="PathAnnotationObject", classification={"name": "Marrow", "colorRGB": -3670016})]
    old += [_feature(box, id="PathDetectionObject", classification={"name": "Cell", "colorRGB": -1}) for box in nuclei]
    _write_regions(folder / "qupath02.geojson", old)
    new = [_feature(marrow, object_type="annotation", name="Marrow")]
    _write_regions(folder / "qupath03.geojson", new + [_feature(box, object_type="detection") for box in nuclei])


def _classifications(folder: Path, tile: UInt8Array) -> None:
    """Write classifications as texts and as lists of names."""
    _plain(folder, tile)
    ignored = _feature((100, 100, 300, 300), objectType="annotation", classification="Ignore*")
    marrow = _feature((20, 20, 370, 370), objectType="annotation", name="Marrow")
    _write_regions(folder / "ignore_string.geojson", [marrow, ignored])
    names = {"names": ["Tumor", "Positive"], "color": [200, 0, 0]}
    derived = _feature((20, 20, 170, 170), objectType="annotation", classification=names)
    stroma = _feature((200, 200, 350, 350), objectType="annotation", classification="Stroma")
    _write_regions(folder / "names.geojson", [derived, stroma])


def _orientation(folder: Path, tile: UInt8Array) -> None:
    """Draw a JPEG and a TIFF of 400 × 300 px that a viewer is to turn."""
    pixels = tile[:300, :SIDE]
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    Image.fromarray(pixels).save(folder / "exif6.jpg", quality=95, exif=exif)
    turned = [(ORIENTATION, 3, 1, TURNED, True)]
    tifffile.imwrite(folder / "orient6.tif", pixels, photometric="rgb", metadata=None, extratags=turned)


def _anisotropic(folder: Path, tile: UInt8Array) -> None:
    """Draw a pyramid whose pixels are 0.5 µm wide and 0.25 µm high."""
    _write_pyramid(folder / "aniso.tif", tile[:SIDE, :SIDE], **_resolution(0.5, 0.25))


def _without_mpp(folder: Path, tile: UInt8Array) -> None:
    """Draw a slide of Aperio's that names its objective and not its scale."""
    write_aperio(folder / "nompp.svs", tile[:SIDE, :SIDE], "AppMag = 20")


def write_aperio(path: Path, pixels: UInt8Array, about: str) -> Path:
    """Write a slide of Aperio's of one level.

    Args:
        path: the file, whose name ends in .svs.
        pixels: (H, W, 3) uint8.
        about: what the description says besides the size, such as "AppMag = 40|MPP = 0.25".
    """
    height, width = pixels.shape[:2]
    text = f"Aperio Image Library v12.0.15\r\n{width}x{height} [0,0 {width}x{height}] (208x208) JPEG/RGB Q=88|{about}"
    with tifffile.TiffWriter(path) as writer:
        _write_tiled(writer, pixels, 208, description=text)
    return path


def _codecs(folder: Path, tile: UInt8Array) -> None:
    """Draw sound TIFFs of kinds that few programs read."""
    pixels = tile[:192, :192]
    for name, compression, kind in (("jpeg2000", JPEG_2000, "JPEG2000"), ("png", PNG_IN_TIFF, "PNG")):
        block = io.BytesIO()
        Image.fromarray(pixels).save(block, kind, **({"no_jp2": True} if kind == "JPEG2000" else {}))
        shape: dict[str, Any] = {
            "shape": pixels.shape,
            "dtype": np.uint8,
            "tile": pixels.shape[:2],
            "compression": compression,
        }
        with tifffile.TiffWriter(folder / f"{name}.tif") as writer:
            writer.write(iter([block.getvalue()]), photometric="rgb", metadata=None, **shape)
    tifffile.imwrite(folder / "float32.tif", pixels.astype(np.float32) / 255, photometric="rgb", metadata=None)
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    tifffile.imwrite(
        folder / "three_grey_planes.tif", planes, photometric="minisblack", planarconfig="separate", metadata=None
    )


def _phone(folder: Path, tile: UInt8Array) -> None:
    """Draw a JPEG with a smaller copy behind it, as telephones write them."""
    small = Image.fromarray(_reduced(tile[:300, :300], 2))
    Image.fromarray(tile[:300, :300]).save(folder / "phone.jpg", "MPO", save_all=True, append_images=[small])


def _dropped(folder: Path, tile: UInt8Array) -> None:
    """Write regions that are easily lost: an area in a collection, and one beside a click without area."""
    _plain(folder, tile)
    good = _feature((20, 20, 170, 170), objectType="annotation", name="good")
    area, line = _feature((200, 200, 350, 350))["geometry"], {"type": "LineString", "coordinates": [[0, 0], [50, 50]]}
    both = {"type": "GeometryCollection", "geometries": [area, line]}
    _write_regions(folder / "collection.geojson", [_feature(geometry=both, objectType="annotation", name="gc"), good])
    click = {"type": "Polygon", "coordinates": [[[5, 5], [6, 6]]]}
    marrow = _feature((20, 20, 370, 370), objectType="annotation", name="Marrow")
    _write_regions(
        folder / "one_bad.geojson", [marrow, _feature(geometry=click, objectType="annotation", name="click")]
    )


def _pyramid(folder: Path, tile: UInt8Array) -> None:
    _write_pyramid(folder / "pyramid.tif", tile[:SIDE, :SIDE])


def _plain(folder: Path, tile: UInt8Array) -> None:
    Image.fromarray(tile[:SIDE, :SIDE]).save(folder / "tile.jpg", quality=95)


def _reduced(pixels: UInt8Array, factor: int) -> UInt8Array:
    size = (pixels.shape[1] // factor, pixels.shape[0] // factor)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _resolution(mpp_x: float, mpp_y: float) -> dict[str, Any]:
    return {"resolution": (10_000 / mpp_x, 10_000 / mpp_y), "resolutionunit": "CENTIMETER"}


def _write_pyramid(path: Path, pixels: UInt8Array, **options: Any) -> None:
    with tifffile.TiffWriter(path) as writer:
        _write_tiled(writer, pixels, 208, **options)
        _write_tiled(writer, _reduced(pixels, 2), 208, subfiletype=1)


def _write_tiled(writer: tifffile.TiffWriter, pixels: UInt8Array, edge: int, **options: Any) -> None:
    writer.write(pixels, photometric="rgb", tile=(edge, edge), compression="deflate", metadata=None, **options)


def _feature(box: Box | None = None, geometry: Mapping[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    """Return a feature of GeoJSON: a rectangle x0, y0, x1, y1 or another geometry, with its properties.

    The property `id` becomes the feature's own.
    """
    if box is not None:
        x0, y0, x1, y1 = box
        geometry = {"type": "Polygon", "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]}
    own = {"id": properties.pop("id")} if "id" in properties else {}
    return {"type": "Feature", "geometry": geometry, "properties": properties, **own}


def _write_regions(path: Path, features: Iterable[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}), encoding="utf-8")
