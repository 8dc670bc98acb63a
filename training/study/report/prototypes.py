"""The section on how much prototypes are like real cells."""

from __future__ import annotations

from typing import Any

from training.study.report.tables import NOT_MEASURED, table

PROTOTYPES = """## Prototypes beside real cells

Bundle `{bundle}`, measured {date}. Command: `python -m training evaluate prototypes CELLS docs/results`

Of each cluster, {generated} generated cells are compared with the real ones that Q puts there. Fidelity is the share
of generated cells that Q puts into their cluster. Diversity is the spread of 16 of them over that of 16 real cells. The
kernel inception distance (KID, mean ± sd over subsets) is measured on features of {network}, which was
trained on ImageNet and has seen neither these cells nor the generator; beside it stands that of one half of the real
cells to the other. *Told apart* is how often a logistic regression on the same features, which parts generated from
real cells, is right on cells that were left out of it: .5 is guessing. The distance to the nearest real cell is the
root mean square over the pixels, in grey levels from 0 to 255, however the cell is turned and mirrored. If generated
cells were copies, it would be far smaller for them than between real cells. Copies can only be seen if the real cells
are those that the bundle was trained on.

"""
LOOK = """
![Generated cells, and below each its nearest real cell](figures/prototypes.jpg)

Each pair of rows is a cluster that has enough real cells, in the order of the table: the first generated cells, not
chosen, and below each of them its nearest real cell. Cells are enlarged eight times.

"""
SPREADS = {"kid": "KID", "kid_real": "KID of real halves"}
COLUMNS = {
    "real": "d",
    "fidelity": ".3f",
    "diversity": ".3f",
    **dict.fromkeys(SPREADS.values(), "s"),
    "told_apart": ".3f",
    **dict.fromkeys(("nearest", "nearest_real", "closest", "closest_real"), ".1f"),
}


def prototypes(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_prototypes` measured."""
    rows = {(str(k),): _row(cluster) for k, cluster in enumerate(result["clusters"])}
    return PROTOTYPES.format(**result) + table(("cluster",), rows, COLUMNS) + LOOK


def _row(cluster: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a cluster, without those that are null, and with the spread of each KID beside it."""
    row = {name: value for name, value in cluster.items() if value is not None}
    for name, title in SPREADS.items():
        row[title] = f"{row[name]:.3f} ± {row[name + '_sd']:.3f}" if name in row else NOT_MEASURED
    return row
