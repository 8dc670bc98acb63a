"""Named cells on disk → a bundle with cell types, or what one is worth: what `marrowscope classifier` does."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.answer.palette import cluster_color, hex_color
from app.cohort.naming import slides_meant
from app.cohort.patients import COLUMNS, read_patients
from app.cohort.sources import SlideSource, Source, find_tiles
from app.pipeline.bundle.load import Bundle, bundle_directory
from app.pipeline.cell_classifier import CellType, ClassifierValidation, Lineage, TypeValidation
from app.pipeline.decode import decode
from app.pipeline.errors import InvalidParameter, PipelineError
from app.pipeline.headers.inputs import check_mpp
from app.pipeline.run import Analysis, analyse
from app.pipeline.types import Int64Array
from app.review.bundle import check_name, check_target, write_taught
from app.review.candidates import review_of
from app.review.classifier import teach
from app.review.named_cells import (
    GroupKind,
    InvalidNamedCells,
    MatchedNames,
    NamedCells,
    NamesOfFile,
    gather,
    match_names,
    named_tile,
    read_names,
)
from app.review.scores import confusion_of, score_types
from app.settings import Settings
from app.shell.analyze import progress
from app.shell.options import open_bundle, usage_errors

SUFFIXES = (".geojson", ".json")
GROUPS: Mapping[tuple[str, str], GroupKind] = {
    ("tile", "patient"): "patients",
    ("tile", "slide"): "slides",
    ("tile", "group"): "groups",
    COLUMNS: "patients",
}
"""What the groups are, by the columns of the table that names them."""
ADVICE = "Write its path there, such as {}."
SHOWN = 10
"""The largest number of objects that are listed on the terminal."""
HARDLY = 0.005
"""A gain that two decimals do not show."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which cells are named, and on which tiles.

    Attributes:
        cells: files of GeoJSON, folders and patterns.
        tiles: the folder of the tiles.
        mpp: µm per pixel of the tiles; None if it is not known.
    """

    cells: Sequence[str]
    tiles: Path
    mpp: float | None


@dataclass(frozen=True, slots=True)
class AnalysedTile:
    """A tile with named cells.

    Attributes:
        tile: its file.
        analysis: by the bundle.
        matched: the cells that have names.
        skipped: what else its files hold, and how many, by the words for it.
    """

    tile: Path
    analysis: Analysis
    matched: MatchedNames
    skipped: Mapping[str, int]


def train_classifier(
    settings: Settings,
    question: Question,
    name: str,
    *,
    source: str | None,
    group: Path | None,
    lineages: Mapping[Lineage, Sequence[str]],
    as_json: bool,
) -> None:
    """Learn types from named cells, write a bundle that knows them, and print what they are worth.

    Args:
        settings: the folders of bundles, and the largest tile.
        question: the named cells and their tiles.
        name: of the new bundle.
        source: name of the bundle to teach; None for the default one.
        group: a table of what is left out together; None for tiles.
        lineages: the types that count towards each lineage.
        as_json: whether JSON is printed instead of tables.

    Raises:
        typer.BadParameter: there is no such bundle.
        PipelineError: something about the cells, tiles, groups or bundles cannot be used; nothing was written.
        OSError: a file cannot be read or written; nothing was written.
    """
    bundle = open_bundle(settings, source)
    check_name(name)
    target = bundle_directory(name, settings.bundle_folders)
    check_target(bundle.directory, target)
    files = _files_by_tile(question)
    groups, kind, notes = _groups([tile for tile, _ in files], group)
    tiles = _analysed(bundle, files, question.mpp, settings.max_pixels)
    named = gather([named_tile(one.analysis, one.matched) for one in tiles], groups, kind)
    types = _types(named.type_names, lineages)
    # A taught bundle finds the cells of the bundle that it was taught on, and so does whatever is taught on it.
    classifier = teach(named, types=types, bundle_sha256=review_of(bundle).sha256)
    manifest, _ = write_taught(bundle, target, classifier)
    if as_json:
        about = {"bundle": name, "version": manifest.version, "directory": str(target), "from": bundle.manifest.name}
        learned = classifier.model_dump(mode="json", exclude={"mean", "deviation", "weights", "bias"})
        _print_json({**about, **learned, **_not_named(tiles), "notes": notes})
        return
    _print_notes(tiles, notes)
    console = _console()
    console.out(f"{len(named)} named cells of {len(named.tiles)} {_noun(len(named.tiles), 'tile')}.\n", highlight=False)
    validation = classifier.validation
    _print_scores(console, named.type_names, validation.types, validation.confusion)
    for sentence in _sentences(named, validation, classifier.threshold):
        console.print(sentence, markup=False, highlight=False)
    console.out(f"\nBundle {name}, version {manifest.version}, taught on {bundle.manifest.name}:", highlight=False)
    typer.echo(os.fsencode(target))


def evaluate_classifier(settings: Settings, question: Question, name: str, *, as_json: bool) -> None:
    """Compare the types that a bundle gives to named cells with their names, and print how well they agree.

    Args:
        settings: the folders of bundles, and the largest tile.
        question: the named cells and their tiles.
        name: of a bundle with a cell classifier.
        as_json: whether JSON is printed instead of tables.

    Raises:
        typer.BadParameter: there is no such bundle.
        PipelineError: the bundle knows no types, or something about the cells or tiles cannot be used.
        OSError: a file cannot be read.
    """
    bundle = open_bundle(settings, name)
    classifier = bundle.manifest.cell_classifier
    if classifier is None:
        raise InvalidParameter(f"The bundle {name} knows no cell types; `marrowscope classifier train` makes one.")
    known = [one.name for one in classifier.types]
    tiles = _analysed(bundle, _files_by_tile(question), question.mpp, settings.max_pixels)
    names = [one for tile in tiles for one in tile.matched.names]
    if not names:
        raise InvalidNamedCells("No cell has a name.")
    unknown = Counter(one for one in names if one not in known)
    if unknown:
        listed = ", ".join(f"'{one}' ({n})" for one, n in sorted(unknown.items()))
        raise InvalidNamedCells(f"The bundle {name} does not know the type {listed}; it knows {', '.join(known)}.")
    given = np.concatenate([_given(one) for one in tiles])
    confusion = confusion_of(np.array([known.index(one) for one in names], np.int64), given, len(known))
    scores = score_types(confusion)
    typed = int(confusion[:, :-1].sum())
    accuracy = float(confusion.diagonal().sum() / typed) if typed else None
    if as_json:
        by_type = [{"type": one, **score.model_dump()} for one, score in zip(known, scores, strict=True)]
        about = {"bundle": name, "version": bundle.manifest.version, "cells": len(names), "tiles": len(tiles)}
        found = {"accuracy_of_typed": accuracy, "without_type": len(names) - typed, "types": by_type}
        _print_json({**about, **found, "confusion": confusion.tolist(), **_not_named(tiles)})
        return
    _print_notes(tiles, [])
    console = _console()
    console.out(f"{len(names)} named cells of {len(tiles)} {_noun(len(tiles), 'tile')}.\n", highlight=False)
    _print_scores(console, known, scores, confusion.tolist())
    without = f"{len(names) - typed} of the cells got no type" if typed < len(names) else "Every cell got a type"
    share = f"; the type is right for {accuracy:.0%} of those that have one" if accuracy is not None else ""
    console.print(f"{without}{share}.", markup=False, highlight=False)


def _files_by_tile(question: Question) -> list[tuple[Path, list[Path]]]:
    """Return each tile that has named cells, with its files of them, in the order of first mention.

    Raises:
        typer.BadParameter: a folder or pattern has no file, or µm per pixel are impossible.
        InvalidNamedCells: a file belongs to no tile, or to several.
    """
    if not question.tiles.is_dir():
        raise typer.BadParameter(f"there is no folder {question.tiles}.")
    with usage_errors():
        check_mpp(question.mpp)
        given = find_tiles(question.cells, SUFFIXES, "GeoJSON")
        tiles = find_tiles([str(question.tiles)])
    found: dict[Path, list[Path]] = {}
    for file in given:
        found.setdefault(_tile_of(file, tiles, question.tiles), []).append(file.path)
    return list(found.items())


def _tile_of(file: Source, tiles: Sequence[Source], folder: Path) -> Path:
    """Return the tile that a file belongs to: of the same sub-folder and name, or else the only one of the name."""
    same = [tile.path for tile in tiles if tile.stem == file.stem]
    meant = same or [tile.path for tile in tiles if tile.stem.name == file.stem.name]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise InvalidNamedCells(f"{file.path} belongs to no tile: {folder} has no {file.stem.name}.png, .tif or .jpg.")
    raise InvalidNamedCells(f"{file.path} may belong to any of {', '.join(map(str, meant))}; keep one of these tiles.")


def _groups(tiles: Sequence[Path], table: Path | None) -> tuple[list[str], GroupKind, list[str]]:
    """Return the group of each tile, what the groups are, and notes about how the table was read.

    Raises:
        InvalidParameter: the table cannot be used, or does not name every tile, or names one in two groups.
    """
    if table is None:
        return [str(tile) for tile in tiles], "tiles", []
    read = read_patients(table, tuple(GROUPS))
    sources = [SlideSource(str(tile), tile.resolve(), Path(os.path.abspath(tile))) for tile in tiles]
    meant = slides_meant(list(read.patients), sources, table.name, ADVICE)
    groups = []
    for source in sources:
        found = sorted({read.patients[name] for name in meant[source.slide]})
        if not found:
            raise InvalidParameter(f"{table.name} has no {read.columns[1]} for {source.slide}.")
        if len(found) > 1:
            raise InvalidParameter(f"{table.name} gives {source.slide} to several: {', '.join(found)}.")
        groups += found
    return groups, GROUPS[read.columns], list(read.warnings)


def _analysed(
    bundle: Bundle, files: Sequence[tuple[Path, Sequence[Path]]], mpp: float | None, max_pixels: int
) -> list[AnalysedTile]:
    """Read all names, and then analyse the tiles, which takes longer."""
    if not bundle.manifest.n_features:
        raise InvalidParameter(
            f"The bundle {bundle.manifest.name} gives no features of cells, so it can be taught no types: it has no "
            "encoder."
        )
    names = [_names(tile, paths, max_pixels) for tile, paths in files]
    analysed = []
    with progress(Console(stderr=True)) as bar:
        task = bar.add_task("", total=len(files))
        for (tile, _), of_tile in zip(files, names, strict=True):
            bar.update(task, description=tile.name)
            with _about(tile):
                analysis = analyse(tile.read_bytes(), bundle, max_pixels=max_pixels, mpp=mpp)
                matched = match_names(of_tile, analysis.cells)
            skipped = sum((Counter(one.skipped) for one in of_tile), Counter())
            analysed.append(AnalysedTile(tile, analysis, matched, skipped))
            bar.advance(task)
    return analysed


def _names(tile: Path, files: Sequence[Path], max_pixels: int) -> list[NamesOfFile]:
    """Return what each file says about the cells of a tile."""
    with _about(tile):
        decoded = decode(tile.read_bytes(), max_pixels=max_pixels)
    names = []
    for file in files:
        with _about(file):
            names.append(read_names(file.read_bytes(), decoded))
    return names


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Say which file an error is about."""
    try:
        yield
    except PipelineError as error:
        raise InvalidNamedCells(f"{path}: {error}") from error


def _given(tile: AnalysedTile) -> Int64Array:
    """Return (n,) int64, the types that the bundle gives to the named cells of a tile."""
    types = tile.analysis.types
    if types is None:
        raise InvalidParameter("The bundle knows no cell types.")
    return types.types[tile.matched.cells]


def _types(names: Sequence[str], lineages: Mapping[Lineage, Sequence[str]]) -> list[CellType]:
    """Return the types with their colours and lineages.

    Raises:
        InvalidParameter: a lineage names a type that no cell has, or one that the other lineage has too.
        InvalidNamedCells: a name cannot be that of a type.
    """
    of: dict[str, Lineage] = {}
    for lineage, members in lineages.items():
        for one in members:
            if one not in names:
                raise InvalidParameter(f"--{lineage} '{one}': no cell has this type; they are {', '.join(names)}.")
            if of.setdefault(one, lineage) != lineage:
                raise InvalidParameter(f"'{one}' can be myeloid or erythroid, not both.")
    types = []
    for i, name in enumerate(names):
        try:
            types.append(CellType(name=name, color=hex_color(cluster_color(i)), lineage=of.get(name)))
        except ValidationError as error:
            raise InvalidNamedCells(f"The type '{name[:80]}': {error.errors()[0]['msg']}.") from error
    return types


def _not_named(tiles: Sequence[AnalysedTile]) -> dict[str, Any]:
    """Return, for JSON, every object that names no cell, what else there is, and cells with several names."""
    return {
        "unmatched": [{"tile": str(one.tile), **asdict(object_)} for one in tiles for object_ in one.matched.unmatched],
        "skipped": dict(sum((Counter(one.skipped) for one in tiles), Counter())),
        "disagreements": [f"{one.tile}: {words}" for one in tiles for words in one.matched.disagreements],
    }


def _print_notes(tiles: Sequence[AnalysedTile], notes: Sequence[str]) -> None:
    """Print on stderr what did not name a cell."""
    found = _not_named(tiles)
    lines = [*notes, *found["disagreements"][:SHOWN]]
    if (more := len(found["disagreements"]) - SHOWN) > 0:
        lines.append(f"... and {more} more cells with several names; --json lists all.")
    unmatched = found["unmatched"]
    if unmatched:
        lines.append(f"{len(unmatched)} named {_noun(len(unmatched), 'object')} without a cell:")
        lines += [
            f"  {one['tile']}: '{one['name']}' at ({one['x']:.0f}, {one['y']:.0f}) is {one['reason']}"
            for one in unmatched[:SHOWN]
        ]
    if (more := len(unmatched) - SHOWN) > 0:
        lines.append(f"  ... and {more} more; --json lists all.")
    lines += [f"Not used: {n} {reason}." for reason, n in found["skipped"].items()]
    for line in lines:
        typer.echo(line, err=True)


def _print_json(content: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(content, allow_nan=False, indent=2, ensure_ascii=False))


def _console() -> Console:
    """Return what prints to stdout; a pipe gets lines of the width that a terminal has."""
    return Console(file=sys.stdout)


def _print_scores(
    console: Console, names: Sequence[str], scores: Sequence[TypeValidation], confusion: Sequence[Sequence[int]]
) -> None:
    """Print precision, recall and F of each type, and the confusion."""
    table = Table("", "type", box=None)
    for title in ("n", "precision", "recall", "F"):
        table.add_column(title, justify="right")
    for i, (name, one) in enumerate(zip(names, scores, strict=True), 1):
        table.add_row(str(i), Text(name), str(one.n), *(_share(value) for value in (one.precision, one.recall, one.f)))
    table.add_row("", "mean", str(sum(one.n for one in scores)), "", "", _share(_mean_f(scores)))
    console.print(table)
    console.out("\nNamed (a row for each type) and given (a column for each):", highlight=False)
    counts = Table("", "named", box=None)
    for title in (*map(str, range(1, len(names) + 1)), "no type"):
        counts.add_column(title, justify="right")
    for i, (name, row) in enumerate(zip(names, confusion, strict=True), 1):
        counts.add_row(str(i), Text(name), *map(str, row))
    console.print(counts)
    console.print()


def _mean_f(scores: Sequence[TypeValidation]) -> float | None:
    found = [one.f for one in scores if one.f is not None]
    return float(np.mean(found)) if found else None


def _share(value: float | None) -> str:
    """Return a share with two decimals, as .87; a dash for none."""
    return "–" if value is None else f"{value:.2f}".removeprefix("0") if value < 1 else "1"


def _noun(n: int, noun: str) -> str:
    return noun if n == 1 else f"{noun}s"


def _sentences(named: NamedCells, validation: ClassifierValidation, threshold: float) -> Iterator[str]:
    """Yield what the figures mean, in plain words."""
    kind = validation.held_out
    one = kind.removesuffix("s")
    if validation.warning:
        yield f"These figures are optimistic. {validation.warning}"
    else:
        yield (
            f"These are figures of {validation.cells} cells that were left out, in {validation.folds} folds of "
            f"{validation.groups} {kind}."
        )
    unseen = [f"'{name}'" for name, score in zip(named.type_names, validation.types, strict=True) if not score.n]
    if unseen:
        yield f"Nothing is known of how {' and '.join(unseen)} would be recognised on another {one}: name more there."
    yield (
        f"The most probable type is right for {validation.accuracy:.0%} of the cells; their probabilities are off "
        f"by {_share(validation.calibration_error_after)} on average."
    )
    if threshold:
        n = sum(row[-1] for row in validation.confusion)
        yield (
            f"A cell whose largest probability is below {_share(threshold)} gets no type: {n} of {validation.cells} "
            "here. This halves the share of wrong types."
        )
    yield gain_sentence(validation.gain_of_50)


def gain_sentence(gain: float | None) -> str:
    """Return what another 50 named cells would bring, in words.

    Args:
        gain: by how much F would rise; None if that is not known.
    """
    if gain is None:
        return "How much F would rise with more named cells is not known yet."
    if gain < HARDLY:
        return "Another 50 named cells would hardly raise F."
    return f"Another 50 named cells would raise F by about {_share(gain)}."
