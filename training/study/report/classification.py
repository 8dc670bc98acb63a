"""Section on the classification of cells: the paper's Table I."""

from __future__ import annotations

from training.study.report.spread import Column, Record, group_by, provenance, spread_table
from training.study.systems.cell_systems import DESCRIBERS

COLUMNS = [
    Column("precision", "precision", best="highest"),
    Column("recall", "recall", best="highest"),
    Column("f1", "F", best="highest"),
    Column("dimensions", "dimensions", ".0f"),
    Column("seconds", "s", ".0f"),
]
CLASSIFICATION = """## Classification of cells (Table I)

Data: {data}; a fifth of the tiles, drawn by the seed, is tested on.
Command: `python -m training evaluate classification runs/crchisto runs/consep docs/results` (the sets are made as for
the clusters of cells)

Features are learned from the cells of the training tiles without types; a linear SVM with L2 penalty on standardised
features is then given these cells' types, its C (.01, .1 or 1 over the number of features) chosen on a quarter of the
training tiles. Precision, recall and F are weighted by support. The paper splits cells at random; here a tile's cells
stay on one side, and every row has the same splits: the spread over them is mostly that of the tiles.

"""
PUBLISHED = """
Published, not measured here: the paper's Table I on its set A, whose types are not public: F .811 (MF), .827 (DNN,
ResNet-50), .857 (the paper's method).
"""


def classification(records: list[Record]) -> str:
    """Of what `evaluate_classification` recorded."""
    sets = group_by(records, "set")
    data = ", ".join(
        f"`{name}` ({fits[0]['training_cells'] + fits[0]['test_cells']} cells)" for name, fits in sets.items()
    )
    text = CLASSIFICATION.format(data=data) + provenance(records)
    for name, fits in sets.items():
        by_system = group_by(fits, "system")
        rows = {(DESCRIBERS[system].title,): by_system[system] for system in DESCRIBERS if system in by_system}
        text += f"\n### `{name}`, types from features\n\n" + spread_table(("features",), rows, COLUMNS)
    return text + PUBLISHED + "\n"
