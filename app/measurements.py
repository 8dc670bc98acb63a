"""`python -m app.measurements [--check]` writes docs/measurements.md, or checks that it says what the code measures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from app.files import write_or_check
from app.pipeline.measure.pixels import MIN_PIXELS
from app.pipeline.measure.table import MEASUREMENTS, REASON_TEXTS, Measurement
from app.pipeline.measure.very_large import CYTOPLASM_UM, LOBE_GAP_UM, MAX_OTHERS, MIN_DIAMETER_UM, MIN_LOBE_UM

PATH = Path(__file__).parents[1] / "docs" / "measurements.md"

BEGINNING = f"""# What is measured on a cell

`python -m app.measurements` writes this page from the code. Every cell of an answer has these {len(MEASUREMENTS)}
measurements: in JSON and Parquet by name, in CSV as columns, in GeoJSON under QuPath's names, and on the page.

- **Where.** Nuclei are measured at the bundle's scale. A tile of another scale is resized first, and its sizes are in
  µm of the tile.
- **Units.** The name of a size ends in `_um`, `_um2` or `_od_per_um`. Where the scale of a tile is not known, it ends
  in `_px` or `_od_per_px`; distances such as the width of the ring are then those of the bundle's scale.
- **Optical density** is −log₁₀((I + 1) / 256) of the normalised tile, split into haematoxylin and eosin by least
  squares along the two stain vectors (Ruifrok and Johnston 2001), to a thousandth; quartiles to four. Normalisation
  makes tiles of different strength comparable, so these are not the densities of the raw picture, which QuPath shows. A
  stain of which a pixel has less than none is negative.
- **Outliers** are measured, too, but summaries leave them out, as they leave them out of the clusters.

A value that could not be taken is null, and `not_measured` says why:

| reason | meaning |
|---|---|
"""
ENDING = f"""## Very large nuclei

`very_large_nuclei` lists candidates for megakaryocytes. A nucleus, or lobes that lie at most {LOBE_GAP_UM} µm apart
and have diameters of at least {MIN_LOBE_UM:g} µm, are one if together they have the area of a disc of
{MIN_DIAMETER_UM:g} µm and if other nuclei take at most {MAX_OTHERS:.0%} of the {CYTOPLASM_UM:g} µm round them. The
limits were set by looking at the tiles of bm_graz. Nobody has compared the candidates with a person's count: blasts,
macrophages and nuclei that overlap are among them, and a megakaryocyte whose nucleus is cut small or pale is not.
"""
GROUPS = {
    "shape": "Size and shape of the nucleus",
    "density": "Stains of the nucleus",
    "cytoplasm": "Stains of the cytoplasm",
    "chromatin": "Chromatin",
    "neighbours": "Neighbours",
}


def document() -> str:
    """Return the page as Markdown."""
    reasons = "".join(f"| `{code}` | {text} |\n" for code, text in REASON_TEXTS.items())
    too_few = f"\nA shape and a spread of densities need {MIN_PIXELS} pixels.\n"
    tables = "".join(_tables())
    return f"{BEGINNING}{reasons}{too_few}\n{tables}{ENDING}"


def _tables() -> Iterator[str]:
    for group, members in groupby(MEASUREMENTS, key=lambda one: one.group):
        yield f"## {GROUPS[group]}\n\n| name | unit | in QuPath | definition | after |\n|---|---|---|---|---|\n"
        yield from (_row(one) for one in members)
        yield "\n"


def _row(one: Measurement) -> str:
    names = f"`{one.column(scale_known=True)}`"
    cells = (names, one.symbol(scale_known=True), one.qupath_name(scale_known=True), one.definition, one.source)
    return f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |\n".replace("|  |", "| |")


def main(arguments: list[str]) -> int:
    """Write the file, or with --check compare it. Returns the exit status, 0 for success."""
    outdated = "docs/measurements.md is not what the code measures: run `make measurements` and commit it."
    return write_or_check(PATH, document(), outdated, is_check="--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
