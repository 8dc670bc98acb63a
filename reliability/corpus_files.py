"""`python -m reliability corpus`: tiny tiles in every form of PNG, JPEG and TIFF, which the fuzzer begins from."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from reliability.png_chunks import write

FOLDER = Path(__file__).parent / "corpus"
SHAPE = (32, 40)
NUCLEI = ((9, 9), (29, 10), (11, 24), (30, 23))
"""x, y of their centres in px."""
ORIENTATION = 0x0112
TIFF_COMPRESSIONS = ("packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "zstd", "lzma")


def write_corpus(folder: Path = FOLDER) -> int:
    """Draw all of the files anew; the number of bytes of all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(drawn())
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return sum(map(len, files.values()))


def read_corpus(folder: Path = FOLDER) -> list[bytes]:
    """The files, in the order of their names."""
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def drawn() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file."""
    tile = draw()
    image = Image.fromarray(tile)
    yield from _png(tile, image)
    yield from _jpeg(image)
    yield from _tiff(tile, image)


def draw() -> np.ndarray:
    """(32, 40, 3) uint8: violet discs on pink, shaded so that no row is like the next."""
    y, x = np.indices(SHAPE)
    shade = (np.arange(SHAPE[0])[:, None] * 3 + np.arange(SHAPE[1])) % 16
    tile = np.stack([235 - shade, 180 - shade, 215 - shade // 2], axis=-1)
    for column, row in NUCLEI:
        tile[(x - column) ** 2 + (y - row) ** 2 <= 36] = (95, 60, 140)
    return tile.astype(np.uint8)


def _png(tile: np.ndarray, image: Image.Image) -> Iterator[tuple[str, bytes]]:
    alpha = np.full((*SHAPE, 1), 255, np.uint8)
    alpha[:4] = 60
    deep = tile.astype(np.uint16) * 257
    palette = image.quantize(16)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a tile")
    text.add_text("Long", "tile " * 80, zip=True)
    text.add_itxt("Ort", "Knochenmark µm", "de", "Ort", zip=True)
    yield "rgb.png", _saved(image, "PNG")
    yield "grey.png", _saved(image.convert("L"), "PNG")
    yield "grey_alpha.png", write(np.concatenate([tile[..., :1], alpha], axis=-1))
    yield "rgba.png", write(np.concatenate([tile, alpha], axis=-1))
    yield "bilevel.png", _saved(image.convert("1"), "PNG")
    yield "palette.png", _saved(palette, "PNG", bits=4)
    yield "palette_transparent.png", _saved(palette, "PNG", transparency=bytes([0, 128, 255]))
    yield "rgb_transparent.png", _saved(image, "PNG", transparency=(95, 60, 140))
    yield "rgb16.png", write(deep)
    yield "grey16.png", write(deep[..., :1])
    yield "interlaced.png", write(tile, interlaced=True)
    yield "interlaced_grey16.png", write(deep[..., :1], interlaced=True)
    yield "text.png", _saved(image, "PNG", pnginfo=text)
    yield "icc.png", _saved(image, "PNG", icc_profile=_profile(), dpi=(600, 600))
    yield "exif_rotated.png", _saved(image, "PNG", exif=_rotated())
    yield "animated.png", _saved(image, "PNG", save_all=True, append_images=[image.rotate(90)])


def _jpeg(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    yield "rgb.jpg", _saved(image, "JPEG", quality=92)
    yield "rgb_444.jpg", _saved(image, "JPEG", subsampling=0, optimize=True)
    yield "grey.jpg", _saved(image.convert("L"), "JPEG")
    yield "cmyk.jpg", _saved(image.convert("CMYK"), "JPEG")
    yield "progressive.jpg", _saved(image, "JPEG", progressive=True)
    yield "restarts.jpg", _saved(image, "JPEG", restart_marker_blocks=1)
    yield "exif_rotated.jpg", _saved(image, "JPEG", exif=_rotated(), comment="a tile", dpi=(600, 600))
    yield "icc.jpg", _saved(image, "JPEG", icc_profile=_profile())
    yield "stereo.jpg", _saved(image, "MPO", save_all=True, append_images=[image.rotate(180)])


def _tiff(tile: np.ndarray, image: Image.Image) -> Iterator[tuple[str, bytes]]:
    small = Image.fromarray(tile[:16, :20])
    yield "rgb.tif", _saved(small, "TIFF", dpi=(600, 600))
    yield "grey.tif", _saved(small.convert("L"), "TIFF")
    yield "rgba.tif", _saved(small.convert("RGBA"), "TIFF")
    yield "cmyk.tif", _saved(small.convert("CMYK"), "TIFF")
    yield "palette.tif", _saved(small.quantize(16), "TIFF")
    yield "group3.tif", _saved(image.convert("1"), "TIFF", compression="group3")
    yield "group4.tif", _saved(image.convert("1"), "TIFF", compression="group4")
    for name in TIFF_COMPRESSIONS:
        yield f"{name.removeprefix('tiff_')}.tif", _saved(image, "TIFF", compression=name)
    yield "predictor.tif", _saved(image, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "rotated.tif", _saved(small, "TIFF", tiffinfo={ORIENTATION: 6})
    yield "icc.tif", _saved(image, "TIFF", compression="tiff_lzw", icc_profile=_profile())
    yield "pages.tif", _saved(small, "TIFF", save_all=True, append_images=[small.rotate(180)])
    yield "tiled.tif", _arranged(tile, tile=(16, 16), compression="zlib")
    yield "strips.tif", _arranged(tile, rowsperstrip=3, compression="lzma")
    yield "planar.tif", _arranged(tile.transpose(2, 0, 1), planarconfig="separate", compression="zlib")
    yield "big_endian.tif", _arranged(tile, byteorder=">", compression="zlib")
    yield "bigtiff.tif", _arranged(tile, bigtiff=True, compression="zlib")
    yield "rgb16.tif", _arranged(tile.astype(np.uint16) * 257, compression="zlib")
    yield "float.tif", _arranged((tile[..., 0] / 255).astype(np.float32), photometric="minisblack", compression="zlib")


def _saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def _arranged(pixels: np.ndarray, photometric: str = "rgb", **options: Any) -> bytes:
    """A TIFF of a kind that Pillow reads and does not write."""
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, np.ascontiguousarray(pixels), photometric=photometric, metadata=None, software=False, **options
    )
    return buffer.getvalue()


def _rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif


def _profile() -> bytes:
    """An ICC profile, without the time at which it was made."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = bytes(12)
    return bytes(made)
