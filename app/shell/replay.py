"""Analyse a tile again as the audit log records it, and compare the results (`marrowscope replay`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.answer.present import Result
from app.answer.provenance import Record
from app.answer.schemas import BundleUsed, ParametersOut
from app.audit.chain import decode
from app.audit.verify import lines, verify
from app.pipeline.bundle.load import Bundle, bundle_directory, load_bundle, read_manifest
from app.pipeline.corrections import Corrections, checked_corrections
from app.pipeline.errors import PipelineError
from app.pipeline.run import analyse
from app.settings import Settings


class CannotReplay(Exception):
    """The analysis cannot be repeated; the text says why."""


class Logged(Record):
    """What the log records about an answer, and which tile it was about."""

    tile_sha256: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcome of a repeated analysis.

    Attributes:
        logged: what the log records about the answer.
        now: what the log would record about the answer of today.
        differences: what else has changed since then, in words.
        is_log_intact: whether no line of the log was changed, removed or inserted.
    """

    logged: Logged
    now: Record
    differences: list[str]
    is_log_intact: bool

    @property
    def is_same(self) -> bool:
        """Whether the result is the same to the last digit."""
        return self.now.result_sha256 == self.logged.result_sha256


def replay(
    request_id: str, tile: Path, logs: Sequence[Path], settings: Settings, nuclei: Path | None = None
) -> Replayed:
    """Find an answer in the log, and compute it again.

    Args:
        request_id: the request id of the answer.
        tile: the file that was uploaded, unchanged to the byte.
        logs: the files of the log, oldest first.
        settings: they say where the bundles are and how large a tile may be.
        nuclei: the file of nuclei that was uploaded with the tile; None if none was.

    Raises:
        CannotReplay: the log has no such answer; or the tile, the bundle or the log is missing or a different one.
    """
    try:
        logged = _find(request_id, logs)
        data = tile.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != logged.tile_sha256:
            raise CannotReplay(f"{tile} is a different tile: its SHA-256 is {found}, the log has {logged.tile_sha256}.")
        own_nuclei = _read_nuclei(nuclei, logged.parameters.nuclei_sha256)
        now = _analyse(data, own_nuclei, _open(logged.bundle, settings), logged.parameters, settings)
        return Replayed(logged, now, list(_differences(logged, now)), verify(logs).is_intact)
    except (OSError, PipelineError) as error:
        raise CannotReplay(str(error)) from error


def _read_nuclei(nuclei: Path | None, logged: str | None) -> bytes | None:
    """Return the nuclei that were uploaded with the tile; None if none were.

    Raises:
        CannotReplay: these are not the nuclei that the log records.
        OSError: they cannot be read.
    """
    data = None if nuclei is None else nuclei.read_bytes()
    found = None if data is None else hashlib.sha256(data).hexdigest()
    if found == logged:
        return data
    if logged is None:
        raise CannotReplay("No nuclei were uploaded with that tile; leave --nuclei out.")
    if found is None:
        raise CannotReplay(f"Nuclei were uploaded with that tile: name their file with --nuclei (SHA-256 {logged}).")
    raise CannotReplay(f"{nuclei} holds different nuclei: its SHA-256 is {found}, the log has {logged}.")


def _find(request_id: str, logs: Sequence[Path]) -> Logged:
    wanted = request_id.encode()
    for raw in (raw for log in logs for raw in lines(log) if wanted in raw):
        content = decode(raw)
        if content and content.get("request_id") == request_id:
            return _read(content)
    raise CannotReplay(f"No request {request_id} is in {', '.join(map(str, logs))}.")


def _read(content: dict[str, Any]) -> Logged:
    if not content.get("answer"):
        raise CannotReplay(f"That request was refused with status {content.get('status')}, so it has no result.")
    try:
        return Logged.model_validate({**content["answer"], "tile_sha256": content.get("tile_sha256")})
    except (TypeError, ValidationError) as error:
        raise CannotReplay(
            f"Line {content['line']} of the log was written by a version of Marrowscope that this one cannot read."
        ) from error


def _open(wanted: BundleUsed, settings: Settings) -> Bundle:
    """Load the bundle that gave the answer.

    Raises:
        CannotReplay: the bundle of that name has another checksum.
        InvalidBundle: there is no bundle of that name, or it cannot be used.
    """
    directory = bundle_directory(wanted.name, settings.bundle_folders)
    manifest, sha256 = read_manifest(directory)
    if sha256 != wanted.sha256:
        setting = "MARROWSCOPE_TAUGHT_DIR" if settings.taught_dir else "MARROWSCOPE_BUNDLES_DIR"
        raise CannotReplay(
            f"The bundle {wanted.name} in {directory.parent} is a different one: version {manifest.version}, "
            f"SHA-256 {sha256}; the log has version {wanted.version}, {wanted.sha256}. Set {setting} to "
            "the folder with that bundle."
        )
    return load_bundle(directory, settings.threads)


def _analyse(data: bytes, nuclei: bytes | None, bundle: Bundle, asked: ParametersOut, settings: Settings) -> Record:
    analysis = analyse(
        data,
        bundle,
        max_pixels=settings.max_pixels,
        mpp=asked.mpp,
        precision=asked.precision,
        nuclei=nuclei,
        corrections=_corrections(asked),
    )
    return Result(analysis, bundle, "", asked.prototypes, asked.measurements, asked.features).record()


def _corrections(asked: ParametersOut) -> Corrections | None:
    cells = checked_corrections(asked.corrections or {})
    return Corrections(cells, asked.reviewer or "") if cells else None


def _differences(logged: Record, found: Record) -> Iterator[str]:
    then, now = (
        {"code version": record.code_version, **_computed_by(record.bundle), **record.environment}
        for record in (logged, found)
    )
    for name in dict.fromkeys([*then, *now]):
        if then.get(name) != now.get(name):
            yield f"{name}: {then.get(name, 'unknown')} then, {now.get(name, 'unknown')} now"


def _computed_by(bundle: BundleUsed) -> dict[str, str]:
    return {"backend": bundle.backend, "device": bundle.device, "precision": bundle.precision}
