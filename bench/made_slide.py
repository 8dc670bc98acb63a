"""Slides of any size, made of the public tiles, to measure with: real slides may not be copied into the repository.

    python -m bench.made_slide OUT.tif --side 40000 --tissue 0.5
    python -m bench.made_slide OUT.tif --assemble

A large slide is a mosaic of squares of 256 px, each of which is compressed once, however often it occurs. Its tissue is
a blob in the middle; the rest is glass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from tifffile import TiffWriter

from bench.tiles import UInt8Array, default_tiles, mirrored, read_pixels

UNIT_PX = 256
"""Edge of a block of the file, and of the squares of the mosaic."""
BLOCK_UNITS = 4
"""Squares along the edge of the block that is cut from one tile, which has 1024 px."""
ZONE_BLOCKS = 4
"""Blocks along the edge of a zone that shows one tile, mirrored from block to block so that no nucleus is cut."""
LEVEL_STEP = 4
SMALLEST_PX = 512
MAX_LEVELS = 5
"""On the fifth level, a square of the mosaic is one pixel."""
MPP = 0.25
JPEG_QUALITY = 80
GLASS = (243, 251)
"""Grey values of the glass, from one corner of the slide to the other."""

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    out: Annotated[Path, typer.Argument(help="TIFF file to write.")],
    side: Annotated[int, typer.Option(min=UNIT_PX, help="Width and height, px.")] = 40_000,
    tissue: Annotated[float, typer.Option(min=0, max=1, help="Share of the area that is tissue, 0 to 1.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of the tissue's shape and of the order of the tiles.")] = 0,
    assemble: Annotated[
        bool, typer.Option("--assemble", help="Put all tiles side by side instead, without loss.")
    ] = False,
) -> None:
    """Write a pyramidal slide of 0.25 µm per pixel, made of the public tiles."""
    if assemble:
        write_assembled(out, [read_pixels(path) for path in default_tiles()])
    else:
        write_large(out, [read_pixels(path) for path in default_tiles()], side, tissue, seed)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:,.0f} MB")


def write_large(out: Path, tiles: list[UInt8Array], side: int, tissue: float, seed: int) -> None:
    """Write a square slide; the memory that this needs does not grow with its size.

    Args:
        out: file to write, a BigTIFF of JPEG blocks.
        tiles: (H, W, 3) uint8 each; tiles smaller than 1024 px are mirrored at their edges.
        side: width and height, px.
        tissue: share of the area that is tissue, 0 to 1.
        seed: seed of the tissue's shape and of the order of the tiles.
    """
    units = unit_images(tiles)
    n_levels = min(MAX_LEVELS, 1 + max(0, math.floor(math.log(side / SMALLEST_PX, LEVEL_STEP))))
    units_map = map_of_units(side, tissue, len(tiles), seed, pad=LEVEL_STEP ** (n_levels - 1))
    with TiffWriter(out, bigtiff=True) as writer:
        for level in range(n_levels):
            edge = -(-side // LEVEL_STEP**level)
            writer.write(
                _jpegs(units, units_map, level, edge),
                shape=(edge, edge, 3),
                subsampling=(2, 2),
                **_options(level, "jpeg", "ycbcr"),
            )


def assembled(tiles: list[UInt8Array]) -> UInt8Array:
    """Put all tiles side by side, four in a row; places without a tile are glass.

    Args:
        tiles: (H, W, 3) uint8, all of one size.

    Returns:
        (rows · H, 4 · W, 3) uint8.
    """
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // 4)
    pixels = np.full((rows * height, 4 * width, 3), GLASS[1], np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // 4 * height, i % 4 * width
        pixels[y : y + height, x : x + width] = tile
    return pixels


def write_assembled(out: Path, tiles: list[UInt8Array]) -> None:
    """Write a lossless slide of two levels that shows the `assembled` tiles."""
    pixels = assembled(tiles)
    with TiffWriter(out, bigtiff=True) as writer:
        for level in range(2):
            if level:
                size = (pixels.shape[1] // LEVEL_STEP, pixels.shape[0] // LEVEL_STEP)
                pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            writer.write(pixels, **_options(level, "deflate", "rgb"))


def unit_images(tiles: list[UInt8Array]) -> UInt8Array:
    """Cut the squares of the mosaic.

    Returns:
        (N, 256, 256, 3) uint8: the 16 squares of each of four mirrored blocks per tile, then a square for each grey.
    """
    edge = BLOCK_UNITS * UNIT_PX
    corners = [mirrored(tile, edge) for tile in tiles]
    blocks = [corner[::dy, ::dx] for corner in corners for dy in (1, -1) for dx in (1, -1)]
    cut = np.stack(blocks).reshape(-1, BLOCK_UNITS, UNIT_PX, BLOCK_UNITS, UNIT_PX, 3).swapaxes(2, 3)
    glass = np.arange(GLASS[0], GLASS[1] + 1, dtype=np.uint8)
    plain = np.broadcast_to(glass[:, None, None, None], (len(glass), UNIT_PX, UNIT_PX, 3))
    return np.concatenate([cut.reshape(-1, UNIT_PX, UNIT_PX, 3), plain])


def map_of_units(side: int, tissue: float, n_tiles: int, seed: int, pad: int) -> NDArray[np.int32]:
    """Choose which of `unit_images` lies at each place, (R, R) int32; R is rounded up to a multiple of `pad`."""
    rng = np.random.default_rng(seed)
    n = -(-side // UNIT_PX)
    edge = -(-n // pad) * pad
    y, x = np.indices((edge, edge))
    block_y, block_x = y // BLOCK_UNITS, x // BLOCK_UNITS
    zones = rng.integers(0, n_tiles, (edge // (BLOCK_UNITS * ZONE_BLOCKS) + 1,) * 2)
    tile = zones[block_y // ZONE_BLOCKS, block_x // ZONE_BLOCKS]
    turned = 2 * (block_y % 2) + block_x % 2
    stained = (tile * 4 + turned) * BLOCK_UNITS**2 + y % BLOCK_UNITS * BLOCK_UNITS + x % BLOCK_UNITS
    grey = np.minimum((x + y) * (GLASS[1] - GLASS[0] + 1) // (2 * n), GLASS[1] - GLASS[0])
    glass = n_tiles * 4 * BLOCK_UNITS**2 + grey
    return np.where(_blob(n, edge, tissue, rng), stained, glass).astype(np.int32)


def _blob(n: int, edge: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a disc with a wavy rim that covers `share` of the first n × n places, as (edge, edge) bool."""
    y, x = (np.indices((edge, edge)) - (n - 1) / 2) / n
    angle, phases = np.arctan2(y, x), rng.uniform(0, 2 * np.pi, 2)
    wavy = np.hypot(x, y) / (1 + 0.12 * np.cos(3 * angle + phases[0]) + 0.06 * np.cos(5 * angle + phases[1]))
    nearest = np.argsort(wavy[:n, :n], axis=None, kind="stable")[: round(share * n * n)]
    inside = np.zeros(n * n, bool)
    inside[nearest] = True
    return np.pad(inside.reshape(n, n), (0, edge - n))


def _jpegs(units: UInt8Array, units_map: NDArray[np.int32], level: int, edge: int) -> Iterator[bytes]:
    """Yield the compressed blocks of a level, row by row; equal blocks are compressed once."""
    step = LEVEL_STEP**level
    small = units
    for _ in range(level):
        n, height, width, _ = small.shape
        small = small.reshape(n, height // LEVEL_STEP, LEVEL_STEP, width // LEVEL_STEP, LEVEL_STEP, 3).mean((2, 4))
    small = np.rint(small).astype(np.uint8)
    made: dict[bytes, bytes] = {}
    n_blocks = -(-edge // UNIT_PX)
    for row in range(n_blocks):
        for column in range(n_blocks):
            part = units_map[row * step : (row + 1) * step, column * step : (column + 1) * step]
            key = part.tobytes()
            if key not in made:
                pixels = small[part].swapaxes(1, 2).reshape(UNIT_PX, UNIT_PX, 3)
                options = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
                made[key] = cv2.imencode(".jpg", pixels[..., ::-1], options)[1].tobytes()
            yield made[key]


def _options(level: int, compression: str, photometric: str) -> dict:
    """Return the options of one level of a pyramid that OpenSlide recognises."""
    per_cm = 10_000 / (MPP * LEVEL_STEP**level)
    return {
        "dtype": np.uint8,
        "photometric": photometric,
        "compression": compression,
        "tile": (UNIT_PX, UNIT_PX),
        "subfiletype": 1 if level else 0,
        "resolution": (per_cm, per_cm),
        "resolutionunit": "CENTIMETER",
        "metadata": None,
    }


if __name__ == "__main__":
    cli()
