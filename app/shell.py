"""Tiles on disk → answers on disk: what `marrowscope analyze` does. Knows no HTTP but the JSON of its answer."""

from __future__ import annotations

import os
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

from app.api import present
from app.api.schemas import NOTICE
from app.files import write_whole
from app.pipeline.backends import Precision
from app.pipeline.bundle import MANIFEST, Bundle, load_bundle
from app.pipeline.errors import InvalidParameter, PipelineError
from app.pipeline.run import Analysis, Stages, analyse_stages
from app.pipeline.stages import Captions, draw_stages
from app.service import Result
from app.settings import Settings

SUFFIXES = {"json": ".json", "stages": ".stages.png"}
"""What each format's file has in place of the tile's suffix."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked about every tile.

    Attributes:
        format: a key of SUFFIXES.
        bundle: what analyses.
        max_pixels: largest tile.
        mpp: µm per pixel of the tiles, if known.
        precision: of Q.
    """

    format: str
    bundle: Bundle
    max_pixels: int
    mpp: float | None
    precision: Precision

    def answer(self, tile: Path) -> bytes:
        """Analyse one tile.

        Raises:
            OSError, PipelineError: it cannot be read or analysed.
        """
        analysis, stages = analyse_stages(
            tile.read_bytes(), self.bundle, max_pixels=self.max_pixels, mpp=self.mpp, precision=self.precision
        )
        if self.format == "json":
            # The id that POST /analyze would have given.
            out = present.analysis_out(Result(analysis, self.bundle, []), uuid.uuid4().hex)
            return out.model_dump_json().encode()
        captions = _captions(tile.name, analysis, stages, self.bundle)
        return present.png(draw_stages(stages.pixels, stages.stains, stages.nuclei, stages.crops, captions))


def analyze(
    tiles: list[Path],
    settings: Settings,
    format: str,
    *,
    out: Path | None,
    bundle: str | None,
    mpp: float | None,
    precision: Precision,
) -> bool:
    """Answer every tile in a file, or on stdout when there is one tile, its answer is text, and no folder is named.

    Args:
        tiles: where they lie.
        settings: where the bundles are, and the largest tile.
        format: a key of SUFFIXES.
        out: folder for the answers, made when it is not there; None for the current one.
        bundle: None for the default one.
        mpp: µm per pixel of the tiles, if known.
        precision: of Q.

    Returns:
        Whether every tile was answered.

    Raises:
        typer.BadParameter: it makes no sense, and nothing was done.
        InvalidBundle: the bundle cannot be used.
        OSError: an answer cannot be written.
    """
    to_stdout = format == "json" and len(tiles) == 1 and out is None
    folder = out or Path()
    targets = None if to_stdout else plan(tiles, folder, SUFFIXES[format])
    job = Job(format, open_bundle(settings, bundle), settings.max_pixels, mpp, precision)
    folder.mkdir(parents=True, exist_ok=True)
    return answer_tiles(job, tiles, targets)


def open_bundle(settings: Settings, name: str | None) -> Bundle:
    """The named bundle, or the default one; only this one is loaded.

    Raises:
        typer.BadParameter: there is no such bundle.
        InvalidBundle: it cannot be used.
    """
    wanted = settings.bundle if name is None else name
    found = sorted(path.parent.name for path in settings.bundles_dir.glob(f"*/{MANIFEST}"))
    if wanted not in found:
        known = ", ".join(found) or "none"
        raise typer.BadParameter(f"there is no '{wanted}' in {settings.bundles_dir}; the bundles are: {known}.")
    return load_bundle(settings.bundles_dir / wanted, settings.threads)


def plan(tiles: list[Path], out: Path, suffix: str) -> list[Path]:
    """Where the answer of each tile goes.

    Raises:
        typer.BadParameter: an answer would overwrite another one, or a tile.
    """
    targets = [out / f"{tile.stem}{suffix}" for tile in tiles]
    first: dict[str, Path] = {}
    for tile, target in zip(tiles, targets, strict=True):
        # Many file systems do not tell A.json from a.json.
        other = first.setdefault(target.name.casefold(), tile)
        if other is not tile:
            raise typer.BadParameter(f"{other} and {tile} would both be answered in {target}; rename one.")
    overwritten = {target.resolve() for target in targets} & {tile.resolve() for tile in tiles}
    if overwritten:
        raise typer.BadParameter(f"{min(overwritten)} is a tile, and would be overwritten; choose another --out.")
    return targets


def answer_tiles(job: Job, tiles: list[Path], targets: list[Path] | None) -> bool:
    """Analyse tiles one after the other; name what was written on stdout, and what failed on stderr.

    Args:
        job: what is asked about each.
        tiles: where they lie.
        targets: a file for each answer; None writes the answers to stdout.

    Returns:
        Whether every tile was answered.

    Raises:
        typer.BadParameter: the job cannot be done for any tile.
        OSError: an answer cannot be written.
    """
    console = Console(stderr=True)
    lines = []
    # rich would redirect what is meant for stdout, even into a file, to the terminal that is stderr.
    bar = Progress(console=console, transient=True, redirect_stdout=False, disable=not sys.stderr.isatty())
    with bar:
        for i, tile in enumerate(bar.track(tiles, description="tiles")):
            try:
                answer = job.answer(tile)
            except InvalidParameter as error:
                raise typer.BadParameter(str(error)) from error
            except (OSError, PipelineError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                console.out(f"{tile}: {reason}", highlight=False)
                continue
            if targets is not None:
                write_whole(answer, targets[i])
            lines.append(answer if targets is None else os.fsencode(targets[i]))
    for line in lines:
        typer.echo(line)
    return len(lines) == len(tiles)


def _captions(name: str, analysis: Analysis, stages: Stages, bundle: Bundle) -> Captions:
    height, width = stages.pixels.shape[:2]
    n, manifest = len(stages.nuclei), bundle.manifest
    is_scaled = (width, height) != (analysis.tile.width, analysis.tile.height)
    scaled = f", at {manifest.mpp:g} µm per pixel" if is_scaled else ""
    return Captions(
        title=f"{name} · bundle {manifest.name}, version {manifest.version} · {n} {'nucleus' if n == 1 else 'nuclei'}",
        warnings=tuple(f"{flag.code}: {flag.message}" for flag in analysis.quality.flags),
        tile=f"Tile as uploaded{scaled}, {width} × {height} px",
        notice=NOTICE,
    )
