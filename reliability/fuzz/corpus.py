"""The tiles that the fuzzer starts from, in every form of PNG, JPEG and TIFF, and damaged copies of them.

`python -m reliability corpus` draws the tiles. The damage is not guided by coverage: in 75 s, atheris (libFuzzer) on
Pillow's readers and `decode` found 11 kinds of outcome in 83,000 cases, of which 2% were tiles; these mutations, which
know the formats, found 20 kinds in 192,000 cases, of which 14% were tiles, and all kinds that atheris found.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from reliability.fuzz import jpeg, png, tiff
from reliability.fuzz.mutations import ANYWHERE, Mutation, Rng, mutated, pick, splice

FOLDER = Path(__file__).parents[1] / "corpus"
SHAPE = (32, 40)
NUCLEI = ((9, 9), (29, 10), (11, 24), (30, 23))
"""x and y of their centres, px."""
ORIENTATION = 0x0112
TIFF_COMPRESSIONS = ("packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "zstd", "lzma")
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="40" SizeY="32" SizeC="3" SizeZ="1" SizeT="1" '
    'PhysicalSizeX="0.5" PhysicalSizeXUnit="&#181;m" PhysicalSizeY="500" PhysicalSizeYUnit="nm"/></Image></OME>'
)
IMAGEJ = "ImageJ=1.54f\nunit=micron\n"
APERIO = "Aperio Image Library v12.0.15\r\n40x32 [0,0 40x32] (16x16) JPEG/RGB Q=88|AppMag = 20|MPP = 0.4990"
"""Descriptions of TIFFs that say how many µm a pixel has."""
FORMATS = {png.SIGNATURE: png.MUTATIONS, b"\xff\xd8": jpeg.MUTATIONS}
"""Mutations of a format by the first bytes of its files; any other file is a TIFF."""
SHARE_OF_FORMAT = 0.7
"""Share of files whose mutations know the format: these get past the first check, behind which more can go wrong."""


def read_corpus(folder: Path = FOLDER) -> list[bytes]:
    """Return the files, in the order of their names."""
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def rng_of(*numbers: int) -> Rng:
    """Return a random generator that is the same whenever the same numbers are given."""
    return np.random.default_rng(numbers)


def damaged(corpus: Sequence[bytes], rng: Rng) -> bytes:
    """Return a damaged copy of a file of the corpus."""
    data = pick(corpus, rng)
    if rng.random() < SHARE_OF_FORMAT:
        return mutated(data, _of_format(data), rng)
    return mutated(data, (*ANYWHERE, splice(corpus)), rng)


def _of_format(data: bytes) -> Sequence[Mutation]:
    found = (mutations for start, mutations in FORMATS.items() if data.startswith(start))
    return next(found, tiff.MUTATIONS)


def write_corpus(folder: Path = FOLDER) -> int:
    """Draw all files and return the sum of their sizes in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(drawn())
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return sum(map(len, files.values()))


def drawn() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file."""
    tile = draw()
    image = Image.fromarray(tile)
    yield from _png(tile, image)
    yield from _jpeg(image)
    yield from _tiff(tile, image)


def draw() -> np.ndarray:
    """Draw violet discs on pink, (32, 40, 3) uint8, shaded so that no two rows are alike."""
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
    yield "grey_alpha.png", png.write(np.concatenate([tile[..., :1], alpha], axis=-1))
    yield "rgba.png", png.write(np.concatenate([tile, alpha], axis=-1))
    yield "bilevel.png", _saved(image.convert("1"), "PNG")
    yield "palette.png", _saved(palette, "PNG", bits=4)
    yield "palette_transparent.png", _saved(palette, "PNG", transparency=bytes([0, 128, 255]))
    yield "rgb_transparent.png", _saved(image, "PNG", transparency=(95, 60, 140))
    yield "rgb16.png", png.write(deep)
    yield "grey16.png", png.write(deep[..., :1])
    yield "interlaced.png", png.write(tile, interlaced=True)
    yield "interlaced_grey16.png", png.write(deep[..., :1], interlaced=True)
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
    yield "ome.tif", _arranged(tile, description=OME, compression="zlib")
    yield "imagej.tif", _arranged(tile, description=IMAGEJ, resolution=(2, 2), compression="zlib")
    yield "aperio.svs", _pyramid(tile, APERIO)
    yield "pyramid.tif", _pyramid(tile)
    yield "float.tif", _arranged((tile[..., 0] / 255).astype(np.float32), photometric="minisblack", compression="zlib")


def _saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def _arranged(pixels: np.ndarray, photometric: str = "rgb", **options: Any) -> bytes:
    """Return a TIFF of a kind that Pillow can read but not write."""
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, np.ascontiguousarray(pixels), photometric=photometric, metadata=None, software=False, **options
    )
    return buffer.getvalue()


def _pyramid(tile: np.ndarray, description: str | None = None) -> bytes:
    """Return a TIFF of two levels, both with this description."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for level, pixels in enumerate((tile, tile[::2, ::2])):
            writer.write(
                np.ascontiguousarray(pixels),
                photometric="rgb",
                tile=(16, 16),
                compression="zlib",
                subfiletype=min(level, 1),
                description=description,
                resolution=(20_000 / 2**level, 20_000 / 2**level),
                resolutionunit="CENTIMETER",
                metadata=None,
                software=False,
            )
    return buffer.getvalue()


def _rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif


def _profile() -> bytes:
    """Return an ICC profile without its date, so that its bytes are always the same."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = bytes(12)
    return bytes(made)
