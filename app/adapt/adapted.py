"""What became of an adaptation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.adapt.tiles import Found, Look
from app.pipeline.bundle.load import Bundle
from app.pipeline.manifest import Manifest


@dataclass(frozen=True)
class Adapted:
    """What became of an adaptation.

    Attributes:
        manifest: of the new bundle.
        sha256: hex digest of the bytes of the manifest.
        source: the bundle that it comes from.
        tiles: the files of the tiles.
        look: how the tiles look.
        before: what the source finds in the tiles.
        after: what the new bundle finds in them.
        warnings: what speaks against relying on it, in whole sentences.
    """

    manifest: Manifest
    sha256: str
    source: Bundle
    tiles: tuple[Path, ...]
    look: Look
    before: Found
    after: Found
    warnings: tuple[str, ...]
