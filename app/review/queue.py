"""Which cells a person looks at next, so that few names teach much."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from app.pipeline.types import BoolArray, Float64Array, Int64Array
from app.review.candidates import Candidates

Kind = Literal["core", "border", "random", "uncertain", "disagreed", "named"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LISTED: tuple[Kind, ...] = ("disagreed", "named")
"""The kinds whose cells are listed by their names, and come although they have names."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What cells a reviewer wants to see.

    Attributes:
        kind: core are those nearest to the mean of their cluster; border those with the smallest difference of their
            two largest cluster probabilities; random any; uncertain those with the smallest largest probability of a
            type; disagreed those that reviewers have named differently; named those that this reviewer has named.
        cluster: only cells of this cluster; None for all clusters.
        type: only cells for which the classifier finds this type the most probable, its place in the list; None for
            all.
        seed: of the order of random cells.
    """

    kind: Kind
    cluster: int | None = None
    type: int | None = None
    seed: int = 0


def choose(
    wanted: Wanted,
    candidates: Candidates,
    named: Collection[str],
    listed: Collection[str] = (),
    probabilities: Float64Array | None = None,
) -> Int64Array:
    """Return the cells to look at, the first one first.

    Without a cluster, the cells of core and border come from all clusters in turn: the first of each, then the second.

    Args:
        wanted: what to choose.
        candidates: the N cells of the review.
        named: ids of the cells that the reviewer has named; they do not come again, unless cells of a kind of `LISTED`
            are wanted.
        listed: ids of the cells of a kind of `LISTED`; no others come then.
        probabilities: (N, T) of each type, by a classifier taught on the names so far; None where there is none.

    Returns:
        Rows of candidates, none if `probabilities` are needed and missing.
    """
    needs_classifier = wanted.kind == "uncertain" or wanted.type is not None
    if needs_classifier and probabilities is None:
        return np.zeros(0, np.int64)
    is_open = _is_open(wanted, candidates, named, listed)
    if wanted.type is not None and probabilities is not None:
        is_open &= probabilities.argmax(axis=1) == wanted.type
    order = _order(wanted, candidates, probabilities)
    order = order[is_open[order]]
    return _in_turn(order, candidates.clusters[order]) if wanted.kind in ("core", "border") else order


def _is_open(wanted: Wanted, candidates: Candidates, named: Collection[str], listed: Collection[str]) -> BoolArray:
    is_listed = wanted.kind in LISTED
    rows = [candidates.rows[cell] for cell in (listed if is_listed else named) if cell in candidates.rows]
    is_open = np.full(len(candidates), not is_listed)
    is_open[rows] = is_listed
    if wanted.cluster is not None:
        is_open &= candidates.clusters == wanted.cluster
    return is_open


def _order(wanted: Wanted, candidates: Candidates, probabilities: Float64Array | None) -> Int64Array:
    n = len(candidates)
    if wanted.kind == "core":
        return np.argsort(candidates.shape.distances, kind="stable")
    if wanted.kind == "border":
        return np.argsort(candidates.margins, kind="stable")
    if wanted.kind == "random":
        return np.random.default_rng(wanted.seed).permutation(n)
    if wanted.kind == "uncertain" and probabilities is not None:
        return np.argsort(probabilities.max(axis=1), kind="stable")
    return np.arange(n)


def _in_turn(order: Int64Array, clusters: Int64Array) -> Int64Array:
    """Return rows so that every cluster has its turn; within a cluster the order stays.

    Args:
        order: (N,) rows.
        clusters: (N,) the cluster of each of them.
    """
    turns = np.zeros(len(order), np.int64)
    for cluster in np.unique(clusters):
        members = clusters == cluster
        turns[members] = np.arange(members.sum())
    return order[np.lexsort((clusters, turns))]
