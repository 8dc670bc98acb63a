"""API keys in a file: their names and SHA-256, never the keys; what `marrowscope keys` does."""

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
    """The keys file cannot be read; the text says why."""


def _can_be_logged(name: str) -> str:
    if not 1 <= len(name) <= MAX_NAME or name != name.strip() or not name.isprintable():
        raise ValueError(
            f"A name is one line of 1 to {MAX_NAME} printable characters without spaces at its ends, found {name!r}"
        )
    return name


class Key(BaseModel):
    """One key, without the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(_can_be_logged)] = Field(description="who uses it; it is what logs show")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the key's UTF-8 bytes")
    created: AwareDatetime = Field(description="when")


def _each_once(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    names = sorted(key.name.casefold() for key in keys)
    if twice := [name for name, following in pairwise(names) if name == following]:
        raise ValueError(f"Each name may be there once, found twice: {twice[0]!r}")
    if len({key.sha256 for key in keys}) < len(keys):
        raise ValueError("Each key may be there once, found two names with one key")
    return keys


_FILE = TypeAdapter(Annotated[tuple[Key, ...], AfterValidator(_each_once)])


def digest(key: bytes) -> str:
    """SHA-256 as the file has it: a random key of 256 bits cannot be guessed, so that no slow hash is needed."""
    return hashlib.sha256(key).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file, none to many.

    Raises:
        OSError: it cannot be read.
        InvalidKeys: it is not a JSON list of keys, each with name, sha256 and created.
    """
    data = path.read_bytes()
    try:
        return _FILE.validate_json(data)
    except ValidationError as error:
        place = "".join(f"{part}: " for part in error.errors()[0]["loc"])
        raise InvalidKeys(f"{path} is no file of keys: {place}{_reason(error)}.") from error


def add_key(path: Path, name: str) -> str:
    """Make a key and keep its SHA-256; a file that is not there is made.

    Args:
        path: the keys file.
        name: 1 to 80 printable characters, and no other key's.

    Returns:
        The key, 43 characters of A–Z, a–z, 0–9, - and _. It is kept nowhere.

    Raises:
        InvalidParameter: the name cannot be used; nothing was written.
        InvalidKeys, OSError: the file cannot be read or written; it is as it was.
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
    """Take a key away; raises as `add_key` does, also where there is none of that name."""
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
    # An administrator's `sudo` must not take the file from the user of the service, who then could let nobody in.
    if before is not None and hasattr(os, "geteuid") and os.geteuid() == 0:
        os.chown(path, before.st_uid, before.st_gid)
