"""Sections on clusters of cells: the paper's Tables II and III, and what each part of ours is worth."""

from __future__ import annotations

from training.study.report.spread import Column, Record, group_by, provenance, spread_table
from training.study.systems.cell_systems import CLUSTERERS, N_CLUSTERS

COLUMNS = [
    Column("purity", "purity", best="highest"),
    Column("class_entropy", "entropy, bits", best="lowest"),
    Column("f1", "F", best="highest"),
    Column("nmi", "NMI", best="highest"),
    Column("ari", "ARI", best="highest"),
    Column("printed_entropy", "eq. 14's entropy, nats"),
    Column("largest_share", "largest cluster"),
    Column("seconds", "s", ".0f"),
]
CLUSTERING = """## Clusters of cells (Tables II and III)

Data: {data}.
Commands: `python -m training labelled ../shared/data/crchisto runs/crchisto` (and `consep`), then
`python -m training evaluate clustering runs/crchisto runs/consep docs/results`

Every system learns from all cells of a set without their types, into {k} clusters, and the clusters of the same cells
are scored, as in the paper. Purity and F are those of its §IV-D: each cluster stands for its commonest type. Entropy is
that of the types within a cluster, weighted by the clusters' sizes, which the paper's figures are; eq. 14 as printed is
the entropy of the sizes alone, knows no types, and has no better end. NMI and ARI, which more clusters do not flatter,
decide. Seconds are those of a fit and its assignment; fixed features are computed once, for the first of the seeds. The
paper's types and those of these sets differ: no figure here confirms or beats one of the paper.
"""
SCORES = [column for column in COLUMNS if column.best]
IN_COMPANY = """
In company: the same clusters where each cell goes by its own probabilities and, twice as heavy, the mean of those of
the 16 cells next to it (a system without probabilities: by its clusters). Any system may gain by it where cells of a
type lie together. The service does not do this: its answer for a cell rests on that cell alone.

"""
NOTES = """
What the systems say of their fits (means over all of the table's fits):

"""
PUBLISHED = """
Published, not measured here: the paper's Table III on its set A, whose types are not public. It serves to compare the
order of the systems and their margins.

| paper, set A | purity | entropy | F |
|---|---|---|---|
| MF + k-means | .579 | 1.376 | .603 |
| DNN (ResNet-50) + k-means | .667 | 1.256 | .677 |
| HOG + DEC | .729 | 1.086 | .737 |
| the paper's method | .855 | .750 | .863 |
"""
N_CLUSTERS_TABLE = """
### Number of clusters (Table II)

Weighted F of each number of clusters, K. Command: `python -m training evaluate n-clusters runs/crchisto runs/consep
docs/results`. Published for the paper's method on its set A: .831, .863, .789 for K = 4, 5, 6.

"""
ABLATION = """## What each part of the method is worth

Data and scores: as for the clusters of cells above. Each row leaves out, or changes, the part that it names.
Command: `python -m training evaluate ablation runs/crchisto runs/consep docs/results`
"""

AGREEMENT = """## Agreement between seeds

How far the clusters that a system finds by one seed are those that it finds by another, over all pairs of seeds:
adjusted Rand index (1: the same clusters; 0: by chance) and mutual information, on all cells that were learned from.
Command: `python -m training evaluate agreement runs/bm_graz runs/crchisto runs/consep docs/results` (`--system` for
others; `runs/bm_graz` by `python -m training cells ../shared/data/bm_graz/tiles runs/bm_graz`)

"""
OF_PAIRS = [Column("ari", "ARI", best="highest"), Column("lowest", "lowest ARI"), Column("nmi", "NMI", best="highest")]


def clustering(records: list[Record]) -> str:
    """Of what `evaluate_clustering` recorded for any number of clusters."""
    of_paper = [record for record in records if record["n_clusters"] == N_CLUSTERS]
    text = CLUSTERING.format(data=_describe_sets(records), k=N_CLUSTERS)
    if of_paper:
        text += "\n" + provenance(of_paper) + _tables(of_paper) + IN_COMPANY + _notes(of_paper) + PUBLISHED
    systems = {record["system"] for record in records if record["n_clusters"] != N_CLUSTERS}
    compared = [record for record in records if record["system"] in systems]
    return text + (_by_number(compared) if compared else "") + "\n"


def ablation(records: list[Record]) -> str:
    """Of the same records, the system being a variant's name."""
    return ABLATION + "\n" + provenance(records) + _tables(records, "variant") + "\n"


def agreement(records: list[Record]) -> str:
    """Of what `evaluate_agreement` recorded, a row for each system on each set."""
    rows = {}
    for name, of_set in group_by(records, "set").items():
        for system, pairs in _in_order(of_set):
            lowest = {"lowest": min(pair["ari"] for pair in pairs)}
            rows[(f"`{name}`", f"{pairs[0]['cells']}", _title(system))] = [pairs[0] | lowest, *pairs[1:]]
    seeds = sorted({seed for pair in records for seed in (pair["seed"], pair["other_seed"])})
    of_fits = [{**records[0], "seed": seed} for seed in seeds]
    return AGREEMENT + provenance(of_fits) + "\n" + spread_table(("set", "cells", "system"), rows, OF_PAIRS) + "\n"


def _tables(records: list[Record], key: str = "system") -> str:
    """Two tables for each set: of cells alone, and in company."""
    text = ""
    for name, of_set in group_by(records, "set").items():
        rows = {(_title(system),): fits for system, fits in _in_order(of_set)}
        text += f"\n### `{name}`\n\n" + spread_table((key,), rows, COLUMNS)
        together = {key: [fit["in_company"] for fit in fits if "in_company" in fit] for key, fits in rows.items()}
        if any(together.values()):
            text += f"\n#### `{name}`, in company\n\n" + spread_table((key,), together, SCORES)
    return text


def _by_number(records: list[Record]) -> str:
    numbers = sorted({record["n_clusters"] for record in records})
    columns = [Column(f"f1_{number}", f"F, K = {number}") for number in numbers]
    rows = {}
    for name, of_set in group_by(records, "set").items():
        for system, fits in _in_order(of_set):
            rows[(f"`{name}`", _title(system))] = [
                {f"f1_{fit['n_clusters']}": fit["f1"]} for fit in fits if "f1" in fit
            ]
    return N_CLUSTERS_TABLE + spread_table(("set", "system"), rows, columns)


def _notes(records: list[Record]) -> str:
    """What happened in the fits of each system, the failed ones by their reason."""
    lines = []
    for system, fits in _in_order(records):
        failed = [fit["failed"] for fit in fits if "failed" in fit]
        noted = [fit["notes"] for fit in fits if "notes" in fit]
        names = dict.fromkeys(name for notes in noted for name in notes)
        means = {name: sum(notes[name] for notes in noted if name in notes) for name in names}
        figures = [f"{name} {total / sum(name in notes for notes in noted):.3g}" for name, total in means.items()]
        reasons = [f"{len(failed)} of {len(fits)} fits failed ({failed[0]})"] if failed else []
        if figures or reasons:
            lines.append(f"- {_title(system)}: {'; '.join([*reasons, *figures])}")
    return NOTES + "\n".join(lines) + "\n" if lines else ""


def _in_order(records: list[Record]) -> list[tuple[str, list[Record]]]:
    """Records by system, those of the paper's table in its order, others after them."""
    places = {name: place for place, name in enumerate(CLUSTERERS)}
    return sorted(group_by(records, "system").items(), key=lambda item: places.get(item[0], len(places)))


def _title(system: str) -> str:
    return CLUSTERERS[system].title if system in CLUSTERERS else system


def _describe_sets(records: list[Record]) -> str:
    sets = group_by(records, "set")
    return ", ".join(f"`{name}` ({fits[0]['cells']} cells of {fits[0]['types']} types)" for name, fits in sets.items())
