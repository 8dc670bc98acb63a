"""The folder of a run: what it is to do, what is done, and where each thing lies.

A file that is there is whole: that is the record of what is done. Work goes on where files are missing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.batch.part_tables import is_part
from app.batch.plan.plan import Plan
from app.batch.summary import SUMMARY, SlideSummary
from app.files import remove_unfinished, write_whole
from app.pipeline.errors import InvalidParameter
from app.pipeline.networks.backend import Precision

MANIFEST, PLAN = "manifest.json", "plan.json"


class RunRefused(InvalidParameter):
    """The run cannot be done in this folder; the text says why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SlideEntry(_Part):
    """One slide of a run."""

    slide: str = Field(description="its id: the name of its folder of results")
    path: str = Field(description="where it lies, for every worker; absolute")
    regions: str | None = Field(description="file or folder of its regions; null: the whole slide")
    patient: str | None = Field(description="as the table of patients says")


class Run(_Part):
    """manifest.json: what is to be done, with what. The same run gives the same results."""

    bundle: str = Field(description="name")
    bundle_sha256: str = Field(description="of its manifest.json")
    bundles_dir: str = Field(description="where bundles lie, for every worker")
    code_version: str = Field(description="of the program")
    precision: Precision
    mpp: float | None = Field(description="µm per px of the slides that do not say theirs")
    max_pixels: int = Field(description="of a PNG or JPEG")
    gzip: bool = Field(description="whether GeoJSON is compressed")
    slides: tuple[SlideEntry, ...]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths within the folder of a run.

    Attributes:
        path: the folder.
    """

    path: Path

    def slide(self, slide: str) -> Path:
        """Where the results of a slide go."""
        return self.path / "slides" / slide

    def work(self, slide: str) -> Path:
        """What is needed until they are there."""
        return self.slide(slide) / "work"

    def plan(self, slide: str) -> Path:
        """What is known of the slide before its tiles are analysed; written last of what `prepare` writes."""
        return self.work(slide) / PLAN

    def overview(self, slide: str) -> Path:
        """The slide made small, and its tissue, beside the plan."""
        return self.work(slide) / "overview.npz"

    def part(self, slide: str, number: int) -> Path:
        """The cells of one tile."""
        return self.work(slide) / f"tile-{number:06d}.parquet"

    def summary(self, slide: str) -> Path:
        """Written last of a slide's results, but for its GeoJSON."""
        return self.slide(slide) / SUMMARY

    def geojson(self, slide: str, run: Run) -> Path:
        """The cells with their outlines, for QuPath."""
        return self.slide(slide) / ("cells.geojson.gz" if run.gzip else "cells.geojson")

    def read_plan(self, slide: str) -> Plan:
        """The plan of a slide; raises OSError where there is none, ValueError where it is cut off."""
        return Plan.model_validate_json(self.plan(slide).read_bytes())

    def read_summary(self, slide: str) -> SlideSummary:
        """The summary of a slide that is done; raises as `read_plan` does."""
        return SlideSummary.model_validate_json(self.summary(slide).read_bytes())

    def told(self, slide: str) -> SlideSummary | None:
        """The summary of a slide, if it is there; a power cut may leave a file without its end, which is no file."""
        with suppress(OSError, ValueError):
            return self.read_summary(slide)
        return None

    def done(self, slide: str, run: Run) -> SlideSummary | None:
        """The summary of a slide, if all of its results are there."""
        return self.told(slide) if self.geojson(slide, run).exists() else None

    def missing(self, slide: str, plan: Plan) -> list[int]:
        """Numbers of the tiles that are still to be analysed, those without a whole file."""
        return [number for number in range(len(plan.tiles)) if not is_part(self.part(slide, number))]

    def begin(self, run: Run) -> None:
        """Begin a run, or go on with the same one; the caller holds the folder's lock (`lock_folder`).

        Raises:
            RunRefused: the folder holds another run, or other files.
            OSError: it cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.path)
        manifest = self.path / MANIFEST
        if manifest.exists():
            try:
                before = Run.model_validate_json(manifest.read_bytes())
            except ValidationError as error:
                raise RunRefused(f"{manifest} was not written by this version; choose another --out.") from error
            differing = [name for name in Run.model_fields if getattr(before, name) != getattr(run, name)]
            if differing:
                raise RunRefused(
                    f"{self.path} holds a run with other {', '.join(differing)}: results would mix. "
                    "Repeat its command to go on with it, or choose another --out."
                )
            return
        others = sorted(path.name for path in self.path.iterdir() if not path.name.startswith("."))
        if others:
            raise RunRefused(f"{self.path} is no folder of a run and holds {others[0]}; choose another --out.")
        write_whole((run.model_dump_json(indent=2) + "\n").encode(), manifest)


@lru_cache(maxsize=4)
def read_run(folder: Path) -> Run:
    """The manifest of a run, which never changes.

    Raises:
        OSError: a worker does not see the folder.
    """
    return Run.model_validate_json((folder / MANIFEST).read_bytes())
