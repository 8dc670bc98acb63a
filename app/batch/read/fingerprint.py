"""The fingerprint of a slide: a checksum that identifies its content without reading gigabytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

WHOLE_BYTES = 64 * 2**20
"""The size up to which a file is read as a whole."""
END_BYTES = 2**20
PIECES, PIECE_BYTES = 64, 2**16
CHUNK_BYTES = 2**20
Identity = tuple[tuple[str, int, int, int], ...]
"""For each file of a slide its path, its size in bytes, the time of its last change in ns, and its inode."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of a slide.

    Attributes:
        n_bytes: the size of all its files together.
        sha256: a hexadecimal SHA-256. Of one file up to 64 MiB it is that of the file; of a larger file it is that of
            its size, its first MiB, its last MiB and 64 pieces of 64 KiB, evenly spread between them; of several files
            it is that of their names and fingerprints.
    """

    n_bytes: int
    sha256: str


def fingerprint(path: Path) -> Fingerprint:
    """Compute the fingerprint of a slide.

    Args:
        path: a file; a folder, which counts with all its files; or an .mrxs file, which counts with the folder beside
            it.

    Raises:
        OSError: a file cannot be read.
    """
    files = _files_of(path)
    if files == [path]:
        return _of_file(path)
    named = [(file.relative_to(path.parent).as_posix(), _of_file(file)) for file in files]
    text = "".join(f"{name}\0{one.n_bytes}\0{one.sha256}\n" for name, one in named)
    return Fingerprint(sum(one.n_bytes for _, one in named), hashlib.sha256(text.encode()).hexdigest())


def identity(path: Path) -> Identity:
    """Return what the disk says about a slide's files: as long as it stays the same, so does the slide.

    It is looked up fast, so it can be compared before and after each reading. It may change without the content, as
    when a file is touched; then the fingerprint decides.

    Args:
        path: as for `fingerprint`.

    Raises:
        OSError: a file cannot be looked up.
    """
    return tuple(
        (file.as_posix(), found.st_size, found.st_mtime_ns, found.st_ino)
        for file in _files_of(path)
        for found in [file.stat()]
    )


def _files_of(path: Path) -> list[Path]:
    """Return all regular files of a slide, sorted by name, without hidden ones."""
    if path.is_dir():
        return sorted(file for file in path.rglob("[!.]*") if file.is_file())
    beside = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and beside.is_dir():
        return [path, *_files_of(beside)]
    return [path]


def _of_file(path: Path) -> Fingerprint:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size > WHOLE_BYTES:
            digest.update(f"{size}\n".encode())
            digest.update(file.read(END_BYTES))
            # Slides of one scanner may begin and end alike, and uncompressed ones also have the same size.
            for i in range(1, PIECES + 1):
                file.seek(END_BYTES + i * (size - 2 * END_BYTES) // (PIECES + 1))
                digest.update(file.read(PIECE_BYTES))
            file.seek(-END_BYTES, 2)
            digest.update(file.read(END_BYTES))
        else:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return Fingerprint(size, digest.hexdigest())
