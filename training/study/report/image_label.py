"""Section on the label of tiles: the paper's Table IV."""

from __future__ import annotations

from statistics import mean

from training.study.labelled_tiles import N_BLOCKS
from training.study.report.spread import Column, Record, group_by, provenance, spread_table
from training.study.systems.cell_systems import CLUSTERERS, DESCRIBERS, WHOLE_TILES

NO_CLUSTERS = "–"
FIGURES = ("precision", "recall", "f1", "auc")
COLUMNS = [Column(name, {"f1": "F", "auc": "AUC"}.get(name, name), best="highest") for name in FIGURES]
IMAGE_LABEL = """## Label of tiles (Table IV)

Data: `{set}`, follicular lymphoma (positive) and reactive lymph node, four blocks of neighbouring tiles of each
label, each tested on once; patients are not known, so tiles of neighbouring blocks may share one.
Commands: `python -m training evaluate tile-cells ../shared/data/fl_reactive runs/fl_reactive`, then
`python -m training evaluate image-label runs/fl_reactive docs/results --tiles ../shared/data/fl_reactive`

Clusters are learned from cells of the training tiles alone (at most {cells} of them), without labels. k-means finds two
centres of the training tiles' proportions, which their labels then name by majority; the SVM has an L2 penalty and its
C chosen by leaving out a training block. Figures are means of the four folds.

"""
PUBLISHED = """
Not measured here: 33 hand-made features with XGBoost are said to reach AUC .940 on such blocks. Published for the
paper's own tiles, which are not public: F .933 (DNN), .931 (k-means), .950 (SVM).
"""


def image_label(records: list[Record]) -> str:
    """Of what `evaluate_image_label` and `evaluate_whole_tiles` recorded."""
    cells = max((record["training_cells"] for record in records if "training_cells" in record), default=0)
    text = IMAGE_LABEL.format(set=records[0]["set"], cells=cells) + provenance(records) + "\n"
    rows = {}
    for system, of_system in sorted(group_by(records, "system").items(), key=lambda item: item[0] != WHOLE_TILES):
        for head, of_head in group_by(of_system, "head").items():
            for k, fits in group_by([{"n_clusters": NO_CLUSTERS, **fit} for fit in of_head], "n_clusters").items():
                rows[(_title(system), head, str(k))] = _over_folds(fits)
    return text + spread_table(("system", "label from", "K"), rows, COLUMNS) + PUBLISHED + "\n"


def _over_folds(fits: list[Record]) -> list[Record]:
    """Means of the folds, a record for each seed that has them all."""
    return [
        {name: mean(fold[name] for fold in folds) for name in FIGURES}
        for folds in group_by(fits, "seed").values()
        if len(folds) == N_BLOCKS
    ]


def _title(system: str) -> str:
    return CLUSTERERS[system].title if system in CLUSTERERS else DESCRIBERS[WHOLE_TILES].title
