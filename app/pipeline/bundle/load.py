"""Load a bundle: its manifest, checksums, networks and golden pair are checked, and an invalid bundle is refused."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.pipeline.cell_types import unknown_measurements
from app.pipeline.crops import CROP_PX, pictures, surroundings, to_network
from app.pipeline.errors import EngineUnavailable, InvalidBundle
from app.pipeline.manifest import (
    GENERATOR_ONNX,
    GOLDEN_CELLS,
    GOLDEN_EXPECTED,
    Q_FAST_ONNX,
    Q_ONNX,
    SEGMENTER_ONNX,
    Manifest,
    segmenter_files,
)
from app.pipeline.networks.backend import Backend, Precision
from app.pipeline.networks.encode import Encoded, encode, tempered
from app.pipeline.networks.open import open_backend, open_segmenter
from app.pipeline.nuclei.network import MapNetwork
from app.pipeline.stain.unmix import stain_engine
from app.pipeline.types import Float32Array, UInt8Array

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
FAST_Q = "the fast Q"
REPLACEABLE = frozenset({Q_ONNX, Q_FAST_ONNX, GENERATOR_ONNX, SEGMENTER_ONNX})
"""Files that may be missing, because the full Q answers for the fast one, and PyTorch computes the other networks.

A file that is there must match its checksum.
"""


class Expected(BaseModel):
    """What a Q gave for the M golden cells when the bundle was made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cluster_probs: list[list[float]] = Field(description="Cluster probabilities, (M, K).")
    surprise: list[float] = Field(description="Surprise, (M,).")
    features: list[list[float]] | None = Field(
        default=None, description="Features, (M, F); null if Q has no encoder of its own."
    )

    def difference(self, encoded: Encoded, components: int, temperature: float) -> float:
        """Return the largest difference between these numbers and those that a Q gives now.

        Args:
            encoded: what the Q gives for the M cells, with probabilities after the temperature, as answers have them.
                Before it, a Q that is too sure of itself turns a difference of its last digits into one of them.
            components: number of principal components; the surprise is a sum of as many squares.
            temperature: `Manifest.temperature`; the numbers here are from before it.

        Returns:
            The largest of three differences: that of probabilities; that of surprise, divided by the number of
            components or by the surprise itself, whichever is larger; and that of features, divided by the largest
            feature, if it is above 1. If only one of both has features, they differ infinitely.
        """
        scale = np.maximum(np.abs(self.surprise), components)
        surprise = _difference(encoded.surprise / scale, np.divide(self.surprise, scale))
        known = tempered(np.asarray(self.cluster_probs, np.float32), temperature)
        found = [_difference(encoded.cluster_probs, known), surprise]
        if self.features is not None and encoded.features is not None:
            largest = np.abs(self.features).max(initial=1)
            found.append(_difference(encoded.features / largest, np.divide(self.features, largest)))
        elif self.features is not None or encoded.features is not None:
            found.append(float("inf"))
        # Unlike max(), np.max does not lose a NaN.
        return float(np.max(found))


class Golden(Expected):
    """The content of golden/expected.json: what the networks gave when the bundle was made."""

    latent: list[list[float]] = Field(
        description="Input of G, (M, K + Z), for which it gives the cells of golden/cells.png."
    )
    tolerance: float = Field(gt=0, description="The full Q, and G in [-1, 1], may differ by at most this.")
    fast: Expected | None = Field(default=None, description="What the fast Q gave; null if there is none.")
    maps: list[list[float]] | None = Field(
        default=None,
        description="What the segmenter gave for the picture golden/cells.png: the mean of nucleus and of depth over "
        "each cell, (M, 2); null if there is none.",
    )
    maps_tolerance: float | None = Field(
        default=None,
        gt=0,
        description="The segmenter may differ by at most this, since processors add up 8-bit products in different "
        "ways, and PyTorch computes it exactly; null: by `tolerance`.",
    )


@dataclass(frozen=True)
class Bundle:
    """A verified bundle that can be served.

    Attributes:
        manifest: numbers of the bundle.
        sha256: hex digest of manifest.json, which contains the checksum of every other file.
        directory: directory of the bundle.
        backend: backend that computes Q and G.
        segmenter: network that finds nuclei; None where the segmentation needs none.
        warnings: what differs from the whole bundle, one sentence each: a file that another one replaces, or a fast Q
            that this processor computes differently.
    """

    manifest: Manifest
    sha256: str
    directory: Path
    backend: Backend
    segmenter: MapNetwork | None = None
    warnings: tuple[str, ...] = ()


def load_bundle(directory: Path, threads: int = 0) -> Bundle:
    """Read, verify and self-test a bundle.

    Args:
        directory: directory of the bundle; it has the bundle's name.
        threads: threads of ONNX Runtime; 0 means one per core that may be used.

    Raises:
        InvalidBundle: a file or the engine is missing, a file is altered or malformed, the directory has another name
            than the bundle, or the golden pair is not reproduced.
    """
    manifest, sha256 = read_manifest(directory)
    missing = _verify_files(directory, manifest)
    if manifest.name != directory.name:
        raise InvalidBundle(
            f"The bundle in {directory.name} has the name {manifest.name} in its manifest; both names must be the same."
        )
    try:
        stain_engine(manifest.segmentation.engine)
    except EngineUnavailable as error:
        raise InvalidBundle(f"{directory.name}: {error}") from error
    if manifest.cell_classifier and (unknown := unknown_measurements(manifest.cell_classifier)):
        raise InvalidBundle(f"{directory.name}: the cell classifier uses an unknown measurement, '{unknown[0]}'.")
    segmenter = open_segmenter(directory, threads) if segmenter_files(manifest.segmentation) else None
    bundle = Bundle(manifest, sha256, directory, open_backend(directory, manifest, threads), segmenter)
    warnings = (*_replaced(missing, bundle.backend), *_self_test(bundle))
    for warning in warnings:
        log.warning("%s: %s", directory.name, warning)
    return replace(bundle, warnings=warnings)


def bundle_directories(folders: Sequence[Path]) -> dict[str, Path]:
    """Find the bundles in some folders; a folder that does not exist holds none.

    Returns:
        The directory of each bundle by its name. Of two with the same name, that of the later folder is found: a bundle
        that a new release brings does not take the place of one that was taught under this name.
    """
    return {path.parent.name: path.parent for folder in folders for path in sorted(folder.glob(f"*/{MANIFEST}"))}


def bundle_directory(name: str, folders: Sequence[Path]) -> Path:
    """Return the directory of a bundle; one that does not exist yet is to be in the last folder."""
    return bundle_directories(folders).get(name, folders[-1] / name)


def read_manifest(directory: Path) -> tuple[Manifest, str]:
    """Parse manifest.json.

    Returns:
        The manifest and the hex digest of its bytes.

    Raises:
        InvalidBundle: it is missing or malformed.
    """
    try:
        raw = (directory / MANIFEST).read_bytes()
        return Manifest.model_validate_json(raw), hashlib.sha256(raw).hexdigest()
    except OSError as error:
        raise InvalidBundle(f"{directory.name}/{MANIFEST} cannot be read.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise InvalidBundle(f"{directory.name}/{MANIFEST} is malformed at {where}: {first['msg']}.") from error


def _verify_files(directory: Path, manifest: Manifest) -> list[str]:
    """Compare every file with its checksum, and return the names of those that are missing and replaceable.

    Raises:
        InvalidBundle: a file has been altered, cannot be read, or is missing and nothing replaces it.
    """
    missing = []
    for name, wanted in manifest.files.items():
        try:
            found = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        except OSError as error:
            if name in REPLACEABLE and not (directory / name).exists():
                missing.append(name)
                continue
            raise InvalidBundle(f"{directory.name}/{name} cannot be read.") from error
        if found != wanted:
            raise InvalidBundle(f"{directory.name}/{name} has been altered: sha256 {found}, expected {wanted}.")
    return missing


def _replaced(missing: list[str], backend: Backend) -> list[str]:
    """Return, in at most two sentences, which files are missing and what computes every answer instead."""
    of_cells = [name for name in missing if name != SEGMENTER_ONNX]
    sentences = [f"{SEGMENTER_ONNX} is missing; PyTorch finds the nuclei."] if SEGMENTER_ONNX in missing else []
    if of_cells:
        verb = "is" if len(of_cells) == 1 else "are"
        sentences.append(
            f"{', '.join(of_cells)} {verb} missing; every answer is the full Q's, computed by {backend.name}."
        )
    return sentences


def _self_test(bundle: Bundle) -> list[str]:
    """Check that the networks reproduce the golden pair; a fast Q that does not is never asked.

    Returns:
        A sentence about the fast Q if it is never asked for this reason.

    Raises:
        InvalidBundle: G, the full Q or the segmenter does not reproduce it, or the golden pair has the wrong shape.
    """
    manifest, (golden, cells) = bundle.manifest, read_golden(bundle.directory)
    try:
        generated = bundle.backend.generate(np.asarray(golden.latent, np.float32))
        # Cells are stored in an 8-bit PNG: half a grey level is due to rounding.
        found = [("G", _difference(generated, to_network(cells)) - 0.5 / 127.5, golden.tolerance)]
        wanted: dict[Precision, tuple[str, Expected | None, float]] = {"full": ("Q", golden, golden.tolerance)}
        if manifest.fast:
            wanted["fast"] = (FAST_Q, golden.fast, manifest.fast.tolerance)
        if bundle.segmenter is not None:
            maps = golden_maps(cells, bundle.segmenter)
            found.append(("The segmenter", _difference(maps, golden.maps), golden.maps_tolerance or golden.tolerance))
        for precision in bundle.backend.precisions:
            name, expected, tolerance = wanted[precision]
            encoded = encode(cells, bundle.backend, manifest.n_clusters, precision, manifest.temperature)
            difference = float("inf")
            if expected:
                difference = expected.difference(encoded, manifest.outliers.components, manifest.temperature)
            found.append((name, difference, tolerance))
    except Exception as error:  # each library has its own exceptions for ragged or misshapen arrays
        raise InvalidBundle(f"{bundle.directory.name}: the networks cannot compute the golden pair.") from error
    warnings = []
    for network, difference, tolerance in found:
        if not difference <= tolerance:
            reason = (
                f"{network} does not reproduce its golden pair "
                f"(difference {difference:.2g}, tolerance {tolerance:.2g})."
            )
            if network != FAST_Q:
                raise InvalidBundle(f"{bundle.directory.name}: {reason}")
            # Processors add up 8-bit products in different ways. Where the result differs, the full Q answers.
            warnings.append(f"{reason} Every answer is the full Q's.")
            bundle.backend.precisions = ("full",)
    return warnings


def read_golden(directory: Path) -> tuple[Golden, UInt8Array]:
    """Read the golden pair of a bundle.

    Returns:
        What the networks gave, and the cells (M, 32, 32, C) uint8; see `golden_picture`.

    Raises:
        InvalidBundle: it cannot be read.
    """
    try:
        golden = Golden.model_validate(json.loads((directory / GOLDEN_EXPECTED).read_text(encoding="utf-8")))
        with Image.open(directory / GOLDEN_CELLS, formats=("PNG",)) as image:
            cells = np.asarray(image.convert("RGB"), dtype=np.uint8)
        n_panels = cells.shape[1] // CROP_PX
        panels = cells.reshape(-1, CROP_PX, n_panels, CROP_PX, 3).transpose(0, 1, 3, 2, 4)
        crops = panels.reshape(-1, CROP_PX, CROP_PX, 3 * n_panels)
        return golden, np.ascontiguousarray(crops if n_panels == 1 else crops[..., :7])
    except (OSError, ValueError) as error:
        raise InvalidBundle(f"{directory.name}/golden is malformed.") from error


def golden_picture(cells: UInt8Array) -> UInt8Array:
    """Return the picture of golden/cells.png, which shows every value of the crops.

    Args:
        cells: (M, 32, 32, C) uint8.

    Returns:
        (M · 32, 32 · P, 3) uint8: a row for each cell. It has the nucleus alone, and if the crops have them, its
        surroundings and its mask beside it.
    """
    panels = [pictures(cells)]
    if cells.shape[3] > 3:
        panels += [surroundings(cells), np.repeat(cells[..., 6:], 3, axis=3)]
    return np.concatenate(panels, axis=2).reshape(-1, CROP_PX * len(panels), 3)


def golden_maps(cells: UInt8Array, segmenter: MapNetwork) -> Float32Array:
    """Return what the segmenter gives for the picture of the golden cells, (M, 2) float32; see `Golden.maps`.

    Args:
        cells: (M, 32, 32, C) uint8.
        segmenter: network that finds nuclei.
    """
    maps = segmenter(np.concatenate(pictures(cells))).reshape(2, len(cells), -1)
    return np.asarray(maps.mean(axis=2).T, dtype=np.float32)


def _difference(found: np.ndarray, expected: object) -> float:
    wanted = np.asarray(expected, np.float32)
    return float(np.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")
