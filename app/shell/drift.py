"""Compare two folders of answers: what `marrowscope drift` does."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import Annotated, Any

import typer

from app.pipeline.errors import PipelineError
from app.shell.options import report_errors

LEVEL = 0.05
"""A difference is beyond chance if its p-value, corrected for the number of quantities, is below this."""
MIN_TILES = 3
"""Fewest tiles of a folder."""
LABELS = ("normal", "abnormal", "indeterminate")


class CannotCompare(PipelineError):
    """The folders cannot be compared; the text says why."""


@dataclass(frozen=True, slots=True)
class TileNumbers:
    """What is compared of one tile.

    Attributes:
        sha256: checksum of the upload.
        bundle: name, version and checksum of the bundle that answered.
        values: numbers by quantity; one that the answer lacks is left out.
        flags: codes of its flags.
        label: its label.
    """

    sha256: str
    bundle: tuple[str, str, str]
    values: dict[str, float]
    flags: frozenset[str]
    label: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantity in both folders.

    Attributes:
        quantity: what is compared.
        n_old: tiles of the old folder that have it.
        n_new: tiles of the new folder that have it.
        old: mean over the old tiles.
        new: mean over the new tiles.
        difference: new − old.
        p: probability of a difference as large by chance alone, of this quantity alone.
        p_holm: the same, corrected for the number of quantities (Holm 1979).
        beyond_chance: whether `p_holm` is below LEVEL.
    """

    quantity: str
    n_old: int
    n_new: int
    old: float
    new: float
    difference: float
    p: float
    p_holm: float
    beyond_chance: bool


def drift(
    old: Annotated[
        Path,
        typer.Argument(metavar="OLD", help="The folder of earlier answers.", show_default=False),
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The folder of later answers.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    different_bundles: Annotated[
        bool,
        typer.Option(
            "--different-bundles", help="Compare answers of different bundles, too; clusters may then be others."
        ),
    ] = False,
) -> None:
    """Say what differs between two folders of answers beyond chance.

    The folders hold JSON that marrowscope analyze --out has written, or only
    its summary.csv, which has fewer quantities. For each quantity the command
    prints the means and whether they differ: stain distance, focus, nuclear
    area, tissue, cells, proportions, and the shares of flags and labels.

    The unit is the tile. Means are compared by Welch's t-test, shares by
    Fisher's exact test, all together by Holm's correction. Use tiles of
    several slides: those of one slide are alike.

    Examples:
      marrowscope drift answers-march answers-april
      marrowscope drift answers-march answers-april --json > drift.json
    """
    with report_errors():
        found = compare_folders(old, new, different_bundles=different_bundles)
    if as_json:
        typer.echo(json.dumps([asdict(difference) for difference in found], indent=1))
    else:
        typer.echo("\n".join(table(found)))


def compare_folders(old: Path, new: Path, *, different_bundles: bool) -> list[Difference]:
    """Return the quantities that both folders have, with their differences.

    Args:
        old: the folder of earlier answers.
        new: the folder of later answers.
        different_bundles: whether answers of different bundles may be compared.

    Raises:
        CannotCompare: a folder has no answers or too few, or they are of different bundles.
        OSError: a file cannot be read.
    """
    before, after = read_folder(old), read_folder(new)
    bundles = sorted({tile.bundle for tile in (*before, *after)})
    if len(bundles) > 1 and not different_bundles:
        names = ", ".join(f"{name} {version} ({sha256[:12]})" for name, version, sha256 in bundles)
        raise CannotCompare(
            f"The answers are of different bundles: {names}. Analyse all tiles with one of them, or compare them "
            "nevertheless with --different-bundles."
        )
    return compare(before, after)


def read_folder(folder: Path) -> list[TileNumbers]:
    """Return the tiles that a folder has answers about, each once: a tile that was sent twice is one tile.

    Raises:
        CannotCompare: the folder has no answers, or of fewer than MIN_TILES tiles.
        OSError: a file cannot be read.
    """
    if not folder.is_dir():
        raise CannotCompare(f"{folder} is not a folder.")
    from app.shell.outputs import SUMMARY  # it brings NumPy, for which no help text should wait

    answers, summary = sorted(folder.rglob("*.json")), folder / SUMMARY
    if answers:
        tiles = [_of_answer(path) for path in answers]
    elif summary.is_file():
        tiles = _of_summary(summary)
    else:
        raise CannotCompare(f"{folder} has no answers: neither JSON nor a {SUMMARY} of `marrowscope analyze --out`.")
    once = list({(tile.sha256, tile.bundle): tile for tile in tiles}.values())
    if len(once) < MIN_TILES:
        raise CannotCompare(f"{folder} has answers about {len(once)} different tiles; at least {MIN_TILES} are needed.")
    return once


def _of_answer(path: Path) -> TileNumbers:
    """Return what is compared of one answer in JSON.

    Raises:
        CannotCompare: the file is not such an answer.
    """
    try:
        answer = json.loads(path.read_bytes())
        quality, bundle = answer["quality"], answer["bundle"]
        values = {
            "stain distance": quality["stain_distance"],
            "focus": quality["focus"],
            "tissue": quality["tissue_fraction"],
            "cells per tile": len(answer["cells"]),
            "outliers": answer["outliers"]["share"],
            **{f"cluster {cluster['cluster']}": cluster["proportion"] for cluster in answer["clusters"]},
            **_nuclear_area(answer["measurements"]),
        }
        return TileNumbers(
            sha256=answer["tile"]["sha256"],
            bundle=(bundle["name"], bundle["version"], bundle["sha256"]),
            values=_numbers(values),
            flags=frozenset(flag["code"] for flag in quality["flags"]),
            label=answer["label"]["value"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CannotCompare(f"{path} is not an answer that `marrowscope analyze` wrote as JSON.") from error


def _nuclear_area(measurements: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the median area of nuclei; that in px and that in µm² are different quantities."""
    names = {"area_um2": "nuclear area, µm²", "area_px": "nuclear area, px"}
    return {names[each["measurement"]]: each["median"] for each in measurements if each["measurement"] in names}


def _of_summary(path: Path) -> list[TileNumbers]:
    """Return what is compared of the tiles of a summary.csv that were analysed.

    Raises:
        CannotCompare: the file is not such a summary.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_of_row(row) for row in csv.DictReader(file) if row["status"] == "ok"]
    except (ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise CannotCompare(f"{path} is not a summary that `marrowscope analyze` wrote.") from error


def _of_row(row: Mapping[str, str]) -> TileNumbers:
    cells = int(row["cells"])
    values: dict[str, Any] = {
        "focus": row["focus"],
        "cells per tile": cells,
        "outliers": int(row["outliers"]) / cells if cells else None,
    }
    for column, value in row.items():
        head, _, cluster = column.partition("_")
        if head == "proportion" and cluster.isdigit():  # A type of cells may have such a name, but no such number.
            values[f"cluster {cluster}"] = value
    return TileNumbers(
        sha256=row["tile_sha256"],
        bundle=(row["bundle"], row["bundle_version"], row["bundle_sha256"]),
        values=_numbers(values),
        flags=frozenset(row["flags"].split()),
        label=row["label"],
    )


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the values that there are, as finite numbers."""
    numbers = {name: float(value) for name, value in values.items() if value is not None and value != ""}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def compare(before: Sequence[TileNumbers], after: Sequence[TileNumbers]) -> list[Difference]:
    """Return the quantities that at least MIN_TILES tiles of both sides have, with their differences.

    Args:
        before: the tiles of the old folder.
        after: the tiles of the new folder.
    """
    rows: list[tuple[str, list[float], list[float], float]] = []
    for name in dict.fromkeys(name for tile in (*before, *after) for name in tile.values):
        x, y = ([tile.values[name] for tile in side if name in tile.values] for side in (before, after))
        if min(len(x), len(y)) >= MIN_TILES:
            rows.append((name, x, y, _p_of_means(x, y)))
    codes = sorted({code for tile in (*before, *after) for code in tile.flags})
    shares = [(f"flag {code}", [[code in tile.flags for tile in side] for side in (before, after)]) for code in codes]
    shares += [
        (f"label {label}", [[tile.label == label for tile in side] for side in (before, after)]) for label in LABELS
    ]
    for name, (has_old, has_new) in shares:
        rows.append((name, [*map(float, has_old)], [*map(float, has_new)], _p_of_shares(has_old, has_new)))
    corrected = holm([p for *_, p in rows])
    return [_difference(name, x, y, p, p_holm) for (name, x, y, p), p_holm in zip(rows, corrected, strict=True)]


def _difference(name: str, x: Sequence[float], y: Sequence[float], p: float, p_holm: float) -> Difference:
    old, new = fmean(x), fmean(y)
    return Difference(name, len(x), len(y), old, new, new - old, p, p_holm, p_holm < LEVEL)


def _p_of_means(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the two-sided p-value of Welch's t-test.

    Where no side varies, t has no value. If the sides differ, the p-value is then that of a permutation test: of all
    ways to divide the tiles, two part the values as completely.
    """
    # Imported here, because SciPy takes long to load, and other commands do not need it.
    from scipy.special import stdtr

    if len(set(x)) == len(set(y)) == 1:
        return 1.0 if x[0] == y[0] else min(1.0, 2 / math.comb(len(x) + len(y), len(x)))
    errors = [variance(side) / len(side) for side in (x, y)]
    freedom = sum(errors) ** 2 / sum(error**2 / (len(side) - 1) for error, side in zip(errors, (x, y), strict=True))
    t = (fmean(x) - fmean(y)) / math.sqrt(sum(errors))
    return float(2 * stdtr(freedom, -abs(t)))


def _p_of_shares(x: Sequence[bool], y: Sequence[bool]) -> float:
    """Return the two-sided p-value of Fisher's exact test."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[sum(x), len(x) - sum(x)], [sum(y), len(y) - sum(y)]])[1])


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the order given (Holm 1979)."""
    corrected, highest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def table(found: Sequence[Difference]) -> list[str]:
    """Return the differences as lines of text, and a line that sums them up."""
    head = ("quantity", "n old", "n new", "old", "new", "difference", "p (Holm)", "")
    rows = [head] + [
        (
            each.quantity,
            str(each.n_old),
            str(each.n_new),
            f"{each.old:.4g}",
            f"{each.new:.4g}",
            f"{each.difference:+.3g}",
            f"{each.p_holm:.2g}",
            "beyond chance" if each.beyond_chance else "",
        )
        for each in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            field.ljust(width) if column in (0, len(head) - 1) else field.rjust(width)
            for column, (field, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    n = sum(each.beyond_chance for each in found)
    verdict = "None differs" if n == 0 else "1 differs" if n == 1 else f"{n} differ"
    return [*lines, "", f"{verdict} beyond chance, of {len(found)} quantities (5%, all together)."]
