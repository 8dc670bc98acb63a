"""The file of API keys: it holds the name and SHA-256 of each key, never the key itself."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.files import write_whole
from app.pipeline.errors import InvalidParameter, PipelineError

MAX_NAME = 80
TOKEN_BYTES = 32


class InvalidKeys(PipelineError):
    """The file is not a valid file of keys; the text says why."""


def _can_be_logged(name: str) -> str:
    if not 1 <= len(name) <= MAX_NAME or name != name.strip() or not name.isprintable():
        raise ValueError(
            f"A name is one line of 1 to {MAX_NAME} printable characters without spaces at its ends, found {name!r}"
        )
    return name


class Key(BaseModel):
    """The record of one key, without the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(_can_be_logged)] = Field(description="Who uses the key; logs show this name.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the key's UTF-8 bytes, in hexadecimal.")
    created: AwareDatetime = Field(description="When the key was made.")


def _each_once(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    names = sorted(key.name.casefold() for key in keys)
    if twice := [name for name, following in pairwise(names) if name == following]:
        raise ValueError(f"Each name may occur only once, found twice: {twice[0]!r}")
    if len({key.sha256 for key in keys}) < len(keys):
        raise ValueError("Each key may occur only once, found two names with one key")
    return keys


_FILE = TypeAdapter(Annotated[tuple[Key, ...], AfterValidator(_each_once)])


def digest(key: bytes) -> str:
    """Return the SHA-256 of a key, as the file has it.

    A key has 256 random bits and cannot be guessed, so no slow hash is needed.
    """
    return hashlib.sha256(key).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read the keys of a file; there may be none.

    Raises:
        OSError: the file cannot be read.
        InvalidKeys: the file is not a JSON list of keys, each with name, sha256 and created.
    """
    data = path.read_bytes()
    try:
        return _FILE.validate_json(data)
    except ValidationError as error:
        place = "".join(f"{part}: " for part in error.errors()[0]["loc"])
        raise InvalidKeys(f"{path} is not a file of keys: {place}{_reason(error)}.") from error


def add_key(path: Path, name: str) -> str:
    """Make a key and keep its SHA-256.

    Args:
        path: the keys file; it is made if it does not exist.
        name: who uses the key, 1 to 80 printable characters; no other key may have the same name.

    Returns:
        The key, 43 characters of A–Z, a–z, 0–9, - and _. It is not stored anywhere.

    Raises:
        InvalidParameter: the name cannot be used; nothing was written.
        InvalidKeys, OSError: the file cannot be read or written; it has not changed.
    """
    keys = read_keys(path) if path.exists() else ()
    token = secrets.token_urlsafe(TOKEN_BYTES)
    created = datetime.now(UTC).replace(microsecond=0)
    try:
        _write(path, [*keys, Key(name=name, sha256=digest(token.encode()), created=created)])
    except ValidationError as error:
        raise InvalidParameter(f"{_reason(error)}.") from error
    return token


def remove_key(path: Path, name: str) -> None:
    """Remove a key from the file.

    Raises:
        InvalidParameter: there is no key of that name; nothing was written.
        InvalidKeys, OSError: the file cannot be read or written; it has not changed.
    """
    keys = read_keys(path)
    left = [key for key in keys if key.name != name]
    if len(left) == len(keys):
        known = ", ".join(repr(key.name) for key in keys) or "none"
        raise InvalidParameter(f"There is no key {name!r}; the keys are: {known}.")
    _write(path, left)


def _reason(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def _write(path: Path, keys: Sequence[Key]) -> None:
    _FILE.validate_python(tuple(keys))
    before = path.stat() if path.exists() else None
    write_whole(_FILE.dump_json(tuple(keys), indent=2) + b"\n", path, mode=0o600)
    # After `sudo marrowscope keys add` the file must still belong to the user that runs the service.
    if before is not None and hasattr(os, "geteuid") and os.geteuid() == 0:
        os.chown(path, before.st_uid, before.st_gid)
