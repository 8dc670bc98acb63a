"""The files of tiles: which files of a directory are tiles, how they are read, and how pixels become a PNG file."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from app.pipeline.bundle.load import Bundle
from app.pipeline.decode import read_picture
from app.pipeline.errors import PipelineError
from app.pipeline.headers.inputs import TILE_SUFFIXES
from app.pipeline.run import Analysis, Stages, analyse_stages
from app.pipeline.types import UInt8Array
from training.errors import DataError

MAX_TILE_PIXELS = 100_000_000
"""Largest tile that is read, in pixels; the limit of the service does not hold for files of one's own."""


def tile_paths(directory: Path) -> list[Path]:
    """Return the PNG, JPEG and TIFF files of a directory, sorted by name.

    Hidden files, such as the `._` files of macOS, are left out.

    Raises:
        DataError: there are none.
    """
    paths = sorted(path for path in directory.glob("[!.]*") if path.suffix.lower() in TILE_SUFFIXES)
    if not paths:
        raise DataError(f"{directory} holds no PNG, JPEG or TIFF tile.")
    return paths


def read_tile(path: Path) -> UInt8Array:
    """Return the pixels of a tile, (H, W, 3) uint8 RGB.

    Raises:
        DataError: it cannot be read or decoded.
    """
    try:
        return read_picture(path.read_bytes(), max_pixels=MAX_TILE_PIXELS)[0]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except PipelineError as error:
        raise DataError(f"{path}: {error}") from error


def analyse_file(path: Path, bundle: Bundle) -> tuple[Analysis, Stages]:
    """Analyse a tile as the service would, up to MAX_TILE_PIXELS; it raises what `analyse_stages` raises."""
    return analyse_stages(path.read_bytes(), bundle, max_pixels=MAX_TILE_PIXELS)


def png_bytes(pixels: UInt8Array) -> bytes:
    """Return the content of a PNG file of (H, W, 3) uint8 RGB pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
