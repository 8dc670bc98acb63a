"""Write a bundle with a cell classifier: a copy of the one whose features it learned from, under a name of its own."""

from __future__ import annotations

import hashlib
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from app.files import whole_directory
from app.lock import turn_in
from app.pipeline.bundle.load import MANIFEST, Bundle, load_bundle, read_manifest
from app.pipeline.cell_classifier import CellClassifier
from app.pipeline.errors import InvalidBundle, InvalidParameter
from app.pipeline.manifest import NAME_PATTERN, SCHEMA_VERSION, Manifest

FIRST_VERSION = "1"
NOT_OF_CELLS = {"version", "created", "cell_classifier", "cluster_names"}
"""The members of a manifest on which cells do not depend: a new version or a named cluster changes them."""


def check_name(name: str) -> None:
    """Refuse a name that no bundle can have, before it becomes a part of a path.

    Raises:
        InvalidParameter: it is none for a bundle.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidParameter(
            f"'{name[:80]}' is no name for a bundle: use up to 64 small letters, digits, - and _, and begin with a "
            "letter or digit."
        )


def check_target(source: Path, target: Path) -> str:
    """Return the version of the bundle that is to be written, or refuse its name.

    Args:
        source: directory of the bundle whose features the types are learned from.
        target: directory that the new bundle shall have; its name is that of the bundle.

    Returns:
        "1", or the number after that of the bundle that is there.

    Raises:
        InvalidParameter: the name is none for a bundle, or belongs to something else than a classifier of that bundle.
    """
    check_name(target.name)
    if not target.exists():
        return FIRST_VERSION
    try:
        there, _ = read_manifest(target)
    except InvalidBundle as error:
        raise InvalidParameter(
            f"{target} exists, and has no manifest that can be read; choose another name."
        ) from error
    base, _ = read_manifest(source)
    if there.cell_classifier is None or there.files != base.files:
        raise InvalidParameter(
            f"{target} exists, and is no cell classifier of {base.name} {base.version}; choose another name."
        )
    return str(int(there.version) + 1) if there.version.isdecimal() else FIRST_VERSION


def write_taught(source: Bundle, target: Path, classifier: CellClassifier) -> tuple[Manifest, str]:
    """Write the bundle as a whole, or not at all. All its files but the manifest are those of the source.

    Args:
        source: the bundle whose features the types were learned from, as it was loaded.
        target: directory of the new bundle; one that is there is replaced if `check_target` allows it.
        classifier: what was learned.

    Returns:
        The manifest of the new bundle, and the hex digest of its bytes.

    Raises:
        InvalidBundle: a file of the source cannot be read, or is not the one that was loaded.
        InvalidParameter: the name cannot be taken; see `check_target`.
        OSError: a file cannot be read or written; the disk may be full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with turn_in(target.parent):  # Others may teach a bundle of the same name, and each gets a version of its own.
        version = check_target(source.directory, target)
        base = _as_loaded(source)
        changed = {
            "schema_version": SCHEMA_VERSION,
            "name": target.name,
            "version": version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "cell_classifier": classifier.model_dump(mode="json"),
        }
        manifest = Manifest.model_validate({**base.model_dump(mode="json"), **changed})
        raw = (manifest.model_dump_json(indent=2) + "\n").encode()
        with whole_directory(target) as staged:
            copy_files(source.directory, base, staged)
            (staged / MANIFEST).write_bytes(raw)
            _check_loads(staged, source)
    return manifest, hashlib.sha256(raw).hexdigest()


def copy_files(source: Path, manifest: Manifest, staged: Path) -> None:
    """Copy all files of a bundle but its manifest, to a directory that is to become another bundle.

    Raises:
        OSError: a file cannot be read or written; the disk may be full.
    """
    for file in manifest.files:
        # A file that another one replaces may be missing.
        if (source / file).exists():
            (staged / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, staged / file)


def _check_loads(staged: Path, source: Bundle) -> None:
    """Check that the new bundle can be served, before it replaces one that is.

    Raises:
        InvalidBundle: it cannot.
    """
    try:
        load_bundle(staged, threads=1)
    except InvalidBundle as error:
        raise InvalidBundle(
            f"A copy of {source.manifest.name} that knows the types cannot be loaded: {error}"
        ) from error


def _as_loaded(source: Bundle) -> Manifest:
    """Return the manifest that the source has on the disk.

    Raises:
        InvalidBundle: it cannot be read, or its cells would not be those that were learned from.
    """
    found, _ = read_manifest(source.directory)
    if found.model_dump(exclude=NOT_OF_CELLS) != source.manifest.model_dump(exclude=NOT_OF_CELLS):
        raise InvalidBundle(
            f"{source.directory.name}/{MANIFEST} was changed after the bundle was loaded, which may find other cells "
            "now. Restart the service, or the command, and teach again."
        )
    return found
