"""The folder of a batch: what the batch is to do, and the path of every file in it."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from app.batch.summary import SUMMARY
from app.pipeline.errors import PipelineError
from app.pipeline.headers.inputs import FrameName
from app.pipeline.networks.backend import Precision

MANIFEST = "manifest.json"


class AnotherBatch(PipelineError):
    """A worker does not see the manifest of the batch that it is to work on; the text says what to do."""


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchSlide(_Manifest):
    """One slide of a batch."""

    slide: str = Field(description="The id of the slide, which names its folder of results.")
    path: str = Field(description="The absolute path of the slide, which must be the same on every worker.")
    refused: str | None = Field(
        default=None, description="Why its file cannot be opened, which its name alone says; null if it may be opened."
    )
    regions: str | None = Field(
        description="The path of the file with its regions, which may not be there; null means that the whole slide "
        "is analysed."
    )
    nuclei: str | None = Field(
        default=None,
        description="The path of the file with nuclei that another program has found, which may not be there; null "
        "means that the bundle finds them.",
    )
    patient: str | None = Field(description="The patient, from the table of patients; null if it has no such slide.")


class BatchManifest(_Manifest):
    """The content of manifest.json: what the batch is to do, apart from the content of its slides and regions."""

    bundle: str = Field(description="The name of the bundle.")
    bundle_sha256: str = Field(description="The SHA-256 of the bundle's manifest.json.")
    bundles_dir: str = Field(description="The folder of the bundle, which must have the same path on every worker.")
    code_version: str = Field(description="The version of the program.")
    precision: Precision = Field(description="The precision of the network that sorts the cells into clusters.")
    mpp: float | None = Field(description="µm per pixel of all slides; null takes what each file says.")
    frame: FrameName = Field(
        default="bounds",
        description="Whether a slide is the scanned part that its file states, as in QuPath, or its whole canvas.",
    )
    max_pixels: int = Field(description="The largest number of pixels of a PNG or JPEG.")
    map: str | None = Field(
        default=None, description="The measurement whose mean over the slide is drawn as a map; null if none is."
    )
    gzip: bool = Field(description="Whether the GeoJSON files are compressed.")
    anndata: bool = Field(default=False, description="Whether the cells are written as AnnData, too.")
    dicom_annotations: bool = Field(
        default=False, description="Whether the outlines of DICOM slides are written as DICOM annotations, too."
    )
    slides: tuple[BatchSlide, ...] = Field(description="The slides, in the order of the command line.")

    def content(self) -> bytes:
        """Return the bytes of manifest.json."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @property
    def sha256(self) -> str:
        """The SHA-256 of manifest.json, in hexadecimal."""
        return hashlib.sha256(self.content()).hexdigest()


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """The paths of the files of a batch.

    Attributes:
        path: the folder itself.
    """

    path: Path

    @property
    def manifest(self) -> Path:
        """The file that says what the batch is to do."""
        return self.path / MANIFEST

    @property
    def slides(self) -> Path:
        """The folder that holds the folder of each slide."""
        return self.path / "slides"

    def results(self, slide: str) -> Path:
        """Return the folder of the results of a slide."""
        return self.slides / slide

    def unfinished(self, slide: str) -> Path:
        """Return the folder of the files that a slide needs only until its results are complete."""
        return self.results(slide) / "work"

    def plan(self, slide: str) -> Path:
        """Return the path of the plan of a slide, the last file that its preparation writes."""
        return self.unfinished(slide) / "plan.json"

    def overview(self, slide: str) -> Path:
        """Return the path of the reduced picture of a slide, with its tissue."""
        return self.unfinished(slide) / "overview.npz"

    def nuclei(self, slide: str) -> Path:
        """Return the path of the nuclei of a slide that another program has found, kept by tiles."""
        return self.unfinished(slide) / "nuclei.sqlite"

    def tile(self, slide: str, number: int) -> Path:
        """Return the path of the table of one tile's cells."""
        return self.unfinished(slide) / f"tile-{number:06d}.parquet"

    def draft(self, slide: str) -> Path:
        """Return the path of the summary of a slide until all other results exist."""
        return self.unfinished(slide) / SUMMARY

    def summary(self, slide: str) -> Path:
        """Return the path of the summary of a slide, the last file of its results."""
        return self.results(slide) / SUMMARY

    def geojson(self, slide: str, batch: BatchManifest) -> Path:
        """Return the path of the GeoJSON with the outlines of a slide's cells."""
        return self.results(slide) / ("cells.geojson.gz" if batch.gzip else "cells.geojson")


@lru_cache(maxsize=4)
def read_manifest(folder: Path, sha256: str) -> BatchManifest:
    """Read what a batch is to do; a worker reads each manifest once.

    Args:
        folder: the folder of the batch; other batches may have been in it before.
        sha256: that of the manifest which is meant.

    Raises:
        AnotherBatch: the folder holds another manifest.
        OSError: the file cannot be read; most likely this worker does not see the folder.
    """
    path = BatchFolder(folder).manifest
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise AnotherBatch(
            f"Worker {platform.node()} finds another batch in {path} than the command has begun; give it again."
        )
    return BatchManifest.model_validate_json(content)
