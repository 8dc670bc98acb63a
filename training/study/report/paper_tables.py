"""Sections on the paper's Tables II to IV, on the parts of the method, and on what seeds change."""

from __future__ import annotations

from statistics import mean, mode

from training.study.labelled_tiles import N_BLOCKS
from training.study.report.tables import Column, Record, describe_fits, group_by, remarks, spread_table
from training.study.systems.cell_systems import BUNDLE, CLUSTERERS, DESCRIBERS, N_CLUSTERS, WHOLE_TILES

SCORES = [
    Column("within_tiles", "NMI within tiles", best="highest"),
    Column("nmi_tile", "NMI with the tile"),
    Column("purity", "purity", best="highest"),
    Column("class_entropy", "entropy, bits", best="lowest"),
    Column("f1", "F", best="highest"),
    Column("nmi", "NMI", best="highest"),
    Column("ari", "ARI", best="highest"),
]
CLUSTERING_COLUMNS = [
    *SCORES,
    Column("printed_entropy", "eq. 14's entropy, nats"),
    Column("explained_area", "η² of area"),
    Column("explained_density", "η² of density"),
    Column("explained_eccentricity", "η² of eccentricity"),
    Column("explained_contrast", "η² of contrast"),
    Column("largest_share", "largest cluster"),
    Column("seconds", "s", ".0f"),
]
AGREEMENT_COLUMNS = [
    Column("ari", "ARI", best="highest"),
    Column("lowest", "lowest ARI"),
    Column("nmi", "NMI", best="highest"),
]
STABILITY_COLUMNS = [
    Column("ari", "ARI", best="highest"),
    Column("lowest", "lowest ARI"),
    Column("matched", "in matched clusters", best="highest"),
    Column("rotation_agreement", "same cluster when turned", best="highest"),
    Column("smallest_share", "smallest cluster"),
    Column("explained_area", "η² of area"),
    Column("explained_density", "η² of density"),
    Column("explained_contrast", "η² of contrast"),
]
LABEL_FIGURES = {"precision": "precision", "recall": "recall", "f1": "F", "auc": "AUC"}
LABEL_COLUMNS = [Column(name, title, best="highest") for name, title in LABEL_FIGURES.items()]
NO_CLUSTERS = "–"
LABEL_SYSTEMS = {WHOLE_TILES: DESCRIBERS[WHOLE_TILES].title, BUNDLE: "the shipped bundle"}
"""Titles of the systems of Table IV that are no clusterers."""

CLUSTERING = """## Clusters of cells (Tables II and III)

Data: {data}.
Commands: `python -m training labelled ../shared/data/crchisto runs/crchisto` (and `consep`), then
`python -m training evaluate clustering runs/crchisto runs/consep docs/results`

Every system learns {k} clusters from all cells of a set, without their types. The clusters of the same cells are then
scored, as in the paper. The rivals see the nucleus alone, but for the one whose name says that it sees the surroundings
as well. Purity and F are those of the paper's §IV-D: each cluster stands for its commonest type.
Entropy is that of the types within a cluster, weighted by the clusters' sizes, because the paper's figures are of this
kind; eq. 14 as printed is the entropy of the sizes alone, does not depend on the types, and has no better end. More
clusters alone do not improve NMI and ARI. Seconds are those of a fit and its assignment; fixed features are computed
once, for the first of the seeds. The paper's types differ from those of these sets, so no figure here confirms or beats
one of the paper.

A row that names a number of cells was measured on those that an earlier segmentation found, and can be compared with
the others only roughly.

The first two figures of a row decide. A tile holds mostly one type, so clusters that recognise the tile, by its stain
for example, look good over all cells without knowing a cell. The NMI within tiles is therefore the mean over the tiles
of more than 100 cells of the NMI between clusters and types of that tile's cells, where recognising the tile does not
help. The NMI of the clusters with the tile stands beside it: if it is above that of the types themselves with the tile,
the clusters follow the tile more than the types do.

η² is the share of the spread of a measurement that lies between the clusters: the nucleus's area in the crop, its mean
optical density, its eccentricity, and the contrast of its chromatin. Clusters that explain the area alone say only how
large a nucleus is.
"""
WITH_NEIGHBOURS = """
With neighbours: each cell is assigned by the sum of its own probabilities and twice the mean of those of the 16 cells
nearest to it (for a system without probabilities, by its clusters). Any system may gain by this if cells of a type lie
together. The service does not do this: its answer for a cell depends on that cell alone.

"""
NOTES = """
What the systems report about their fits (means over all fits of the tables, apart for each number of iterations):

"""
PUBLISHED_CLUSTERING = """
Published, and not measured here: the paper's Table III on its set A, whose types are not public. It allows the order of
the systems and their margins to be compared.

| paper, set A | purity | entropy | F |
|---|---|---|---|
| MF + k-means | .579 | 1.376 | .603 |
| DNN (ResNet-50) + k-means | .667 | 1.256 | .677 |
| HOG + DEC | .729 | 1.086 | .737 |
| the paper's method | .855 | .750 | .863 |
"""
N_CLUSTERS_TABLE = """
### Number of clusters (Table II)

Weighted F for each number of clusters, K. Command: `python -m training evaluate n-clusters runs/crchisto runs/consep
docs/results`. Published for the paper's method on its set A: .831, .863, .789 for K = 4, 5, 6.

"""
ABLATION = """## What each part of the method is worth

Data and scores are those of the clusters of cells above. Each row is our method with one thing left out, or changed,
which its name says:

- nucleus alone: the encoder does not see what lies round a nucleus.
- whole field, never near: in no view do the surroundings end near the nucleus.
- no neighbours as views: both views of a pair are of the same cell, and never of two neighbours.
- cells of all tiles in a batch: a cell is told apart from those of all tiles, and not of two.
- no changes of stain: no view is without colour, or has another optical density.
- no blur: no view is blurred.
- k-means instead of company: the clusters are those of k-means of the encoder's features, with which ours begin.

Command: `python -m training evaluate ablation runs/crchisto runs/consep docs/results`
"""
AGREEMENT = """## Agreement between seeds

How similar are the clusters that a system finds with different seeds? The figures are the adjusted Rand index (1 for
the same clusters, 0 for chance) and the mutual information of all pairs of seeds, on all cells that were learned from.
Command: `python -m training evaluate agreement runs/bm_graz runs/crchisto runs/consep docs/results` (`--system` for
another system; `python -m training cells ../shared/data/bm_graz/tiles runs/bm_graz` makes `runs/bm_graz`)

"""
STABILITY = """## How many clusters?

Clusters that another seed does not find again are no property of the cells. For each number of clusters, K, everything
that is random is drawn anew for each seed: the encoder, if the configuration has one, and the head. The same cells are
then assigned by each. Command: `python -m training evaluate stability runs/bm_graz docs/results`

Over all pairs of seeds: the adjusted Rand index (1 for the same clusters, 0 for chance), with that of the worst pair,
and the share of the cells that are in matched clusters. Each cluster is matched with one of the other seed, so that
most cells agree; this share also grows by chance alone, when clusters are few or one is large. Over all seeds: the
share of pairs of a cell and its turn by 90°, 180° or 270° that are in one cluster, the share of the cells in the
smallest cluster, and η², the share of the spread of a measurement of the nucleus that lies between the clusters.
[How to choose K](train.md#choose-the-number-of-clusters).

"""
IMAGE_LABEL = """## Label of tiles (Table IV)

Data: `{set}`, follicular lymphoma (positive) and reactive lymph node. The tiles of each label form four blocks of
neighbouring tiles, and each block is tested on once. The patients are not known, so tiles of neighbouring blocks may
come from the same patient.
Commands: `python -m training evaluate tile-cells ../shared/data/fl_reactive runs/fl_reactive`, then
`python -m training evaluate image-label runs/fl_reactive docs/results --tiles ../shared/data/fl_reactive`, and
`python -m training evaluate bundle-label ../shared/data/fl_reactive docs/results`

Clusters are learned from cells of the training tiles alone (at most {cells} of them, {drawn}), without labels.
k-means finds two centres of the training tiles' proportions, and the labels then name the centres by majority.
The SVM has an L2 penalty, and its C is chosen by leaving out a training block. Figures are means over the four
folds.

The rows of the shipped bundle compare what a label may rest on. Its nuclei and clusters are those of marrow: nothing
was learned from this set but the last step. All of its cells count, outliers too. The measurements are the four medians
of `descriptor = "proportions+measurements"` ([what they are](train.md#measurements-in-the-label)).

"""
PUBLISHED_IMAGE_LABEL = """
Not measured here: an AUC of .940 is reported for 33 hand-made features with XGBoost on such blocks. Published for the
paper's own tiles, which are not public: F .933 (DNN), .931 (k-means), .950 (SVM).
"""


def clustering(records: list[Record]) -> str:
    """Return the section on what `evaluate_clustering` recorded for any number of clusters."""
    of_paper = [record for record in records if record["n_clusters"] == N_CLUSTERS]
    text = CLUSTERING.format(data=_describe_sets(records), k=N_CLUSTERS)
    if of_paper:
        text += (
            "\n"
            + describe_fits(of_paper)
            + remarks(of_paper, CLUSTERERS)
            + _tables(of_paper)
            + WITH_NEIGHBOURS
            + _notes(of_paper)
        )
        text += PUBLISHED_CLUSTERING
    systems = {record["system"] for record in records if record["n_clusters"] != N_CLUSTERS}
    compared = [record for record in records if record["system"] in systems]
    return text + (_by_number(compared) if compared else "") + "\n"


def ablation(records: list[Record]) -> str:
    """Return the section on variants of the method; the records name the variant as their system."""
    return ABLATION + "\n" + describe_fits(records) + _tables(records, "variant") + "\n"


def agreement(records: list[Record]) -> str:
    """Return the section on what `evaluate_agreement` recorded, with a row for each system on each set."""
    rows = {}
    for name, of_set in group_by(records, "set").items():
        for system, pairs in _in_order(of_set):
            lowest = {"lowest": min(pair["ari"] for pair in pairs)}
            rows[(f"`{name}`", f"{pairs[0]['cells']}", _title(system))] = [pairs[0] | lowest, *pairs[1:]]
    seeds = sorted({seed for pair in records for seed in (pair["seed"], pair["other_seed"])})
    of_fits = [{**records[0], "seed": seed} for seed in seeds]
    table = spread_table(("set", "cells", "system"), rows, AGREEMENT_COLUMNS)
    return AGREEMENT + describe_fits(of_fits) + "\n" + table + "\n"


def stability(records: list[Record]) -> str:
    """Return the section on what `evaluate_stability` recorded, with a table for each set and configuration."""
    text = STABILITY + describe_fits(records)
    for name, of_set in group_by(records, "set").items():
        for config, fits in group_by(of_set, "system").items():
            rows = {}
            for k, of_k in sorted(group_by(fits, "n_clusters").items()):
                lowest = min((record["ari"] for record in of_k if "ari" in record), default=None)
                rows[(str(k),)] = of_k if lowest is None else [*of_k, {"lowest": lowest}]
            text += f"\n### `{name}`, {fits[0]['cells']} cells, configuration `{config}`\n\n"
            text += spread_table(("K",), rows, STABILITY_COLUMNS)
    return text + "\n"


def image_label(records: list[Record]) -> str:
    """Return the section on what `evaluate_image_label`, `evaluate_whole_tiles` and `evaluate_bundle` recorded."""
    learned = [record for record in records if "training_cells" in record]
    cells = max((record["training_cells"] for record in learned), default=0)
    ways = {True: "in whole tiles drawn at random", False: "drawn one by one"}
    drawn = " or ".join(ways[whole] for whole in sorted({"training_tiles" in record for record in learned}))
    text = IMAGE_LABEL.format(set=records[0]["set"], cells=cells, drawn=drawn) + describe_fits(records) + "\n"
    rows = {}
    for system, of_system in sorted(group_by(records, "system").items(), key=lambda item: item[0] != WHOLE_TILES):
        title = LABEL_SYSTEMS.get(system) or _title(system)
        for head, of_head in group_by(of_system, "head").items():
            for k, fits in group_by([{"n_clusters": NO_CLUSTERS, **fit} for fit in of_head], "n_clusters").items():
                rows[(title, head, str(k))] = _over_folds(fits)
    return text + spread_table(("system", "label from", "K"), rows, LABEL_COLUMNS) + PUBLISHED_IMAGE_LABEL + "\n"


def _tables(records: list[Record], key: str = "system") -> str:
    """Return two tables for each set: of cells by themselves, and with their neighbours."""
    text = ""
    for name, of_set in group_by(records, "set").items():
        rows = {(title,): fits for title, fits in _rows(of_set)}
        text += f"\n### `{name}`\n\n" + _types_and_tiles(of_set) + spread_table((key,), rows, CLUSTERING_COLUMNS)
        together = {key: [fit["in_company"] for fit in fits if "in_company" in fit] for key, fits in rows.items()}
        if any(together.values()):
            text += f"\n#### `{name}`, with neighbours\n\n" + spread_table((key,), together, SCORES)
    return text


def _types_and_tiles(of_set: list[Record]) -> str:
    """Return a line about the NMI of a set's types with its tiles, beside which that of the clusters is read."""
    measured = [record["types_nmi_tile"] for record in of_set if "types_nmi_tile" in record]
    return f"The NMI of the types themselves with the tile is {mean(measured):.3f}.\n\n" if measured else ""


def _by_number(records: list[Record]) -> str:
    """Return the table of the weighted F for each number of clusters."""
    numbers = sorted({record["n_clusters"] for record in records})
    columns = [Column(f"f1_{number}", f"F, K = {number}") for number in numbers]
    rows = {}
    for name, of_set in group_by(records, "set").items():
        for title, fits in _rows(of_set):
            rows[(f"`{name}`", title)] = [{f"f1_{fit['n_clusters']}": fit["f1"]} for fit in fits if "f1" in fit]
    return N_CLUSTERS_TABLE + spread_table(("set", "system"), rows, columns)


def _notes(records: list[Record]) -> str:
    """Return what each system reports about its fits, and the reason if fits failed."""
    lines = []
    for system, fits in _in_order(records):
        failed = [fit["failed"] for fit in fits if "failed" in fit]
        reported = [f"{len(failed)} of {len(fits)} fits failed ({failed[0]})"] if failed else []
        # Fits of one length share a line: a mean over 200 and 2,000 iterations would be that of none.
        for iterations in sorted({_iterations(fit) for fit in fits if "notes" in fit}):
            noted = [fit["notes"] for fit in fits if "notes" in fit and _iterations(fit) == iterations]
            names = dict.fromkeys(name for notes in noted for name in notes)
            means = {name: mean(notes[name] for notes in noted if name in notes) for name in names}
            reported.append("; ".join(f"{name} {value:.3g}" for name, value in means.items()))
        lines += [f"- {_title(system)}: {one}" for one in reported if one]
    return NOTES + "\n".join(lines) + "\n" if lines else ""


def _over_folds(fits: list[Record]) -> list[Record]:
    """Return the means over the folds, for each seed that has all folds."""
    return [
        {name: mean(fold[name] for fold in folds) for name in LABEL_FIGURES}
        for folds in group_by(fits, "seed").values()
        if len(folds) == N_BLOCKS
    ]


def _in_order(records: list[Record]) -> list[tuple[str, list[Record]]]:
    """Return the records by system: those of the paper's table in its order, then all others."""
    places = {name: place for place, name in enumerate(CLUSTERERS)}
    return sorted(group_by(records, "system").items(), key=lambda item: places.get(item[0], len(places)))


def _title(system: str) -> str:
    return CLUSTERERS[system].title if system in CLUSTERERS else system


def _rows(of_set: list[Record]) -> list[tuple[str, list[Record]]]:
    """Return title and records of each row.

    The title names the number of cells if it is not the usual one, and that of the iterations if the system's differ.
    """
    usual, rows = _usual_cells(of_set), []
    for system, fits in _in_order(of_set):
        differ = len({_iterations(fit) for fit in fits}) > 1
        for cells, on_cells in group_by(fits, "cells").items():
            for iterations in sorted({_iterations(fit) for fit in on_cells}, reverse=True):
                title = _title(system)
                title += f", {iterations:.0f} iterations" if differ else ""
                title += f", {cells} cells" if cells != usual else ""
                rows.append((title, [fit for fit in on_cells if _iterations(fit) == iterations]))
    return rows


def _iterations(record: Record) -> float:
    """Return how many iterations a generator learned for; 0 if the fit has none."""
    return float(record.get("notes", {}).get("generator_iterations", 0))


def _usual_cells(records: list[Record]) -> int:
    """Return the number of cells that most records were measured on."""
    return mode(record["cells"] for record in records)


def _describe_sets(records: list[Record]) -> str:
    sets = group_by(records, "set")
    return ", ".join(
        f"`{name}` ({_usual_cells(fits)} cells of {fits[0]['types']} types)" for name, fits in sets.items()
    )
