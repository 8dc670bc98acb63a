"""What a run must have learned before it may be shipped as a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from app.pipeline.manifest import Metrics

MAX_ONNX_DIFFERENCE = 1e-4
"""Largest difference between ONNX Runtime and PyTorch, see `export.max_difference`."""


@dataclass(frozen=True)
class Gate:
    """A limit on one figure.

    Attributes:
        title: what the figure is.
        limit: the figure may not be beyond it.
        at_least: whether the limit is the lowest figure that passes; else the figure must be below it.
    """

    title: str
    limit: float
    at_least: bool

    @property
    def wanted(self) -> str:
        """The limit as text, for example "≥ 0.95"."""
        return f"{'≥' if self.at_least else '<'} {self.limit:g}"

    def passes(self, value: float) -> bool:
        """Return whether a figure is within the limit."""
        return value >= self.limit if self.at_least else value < self.limit


GATES = {
    "loss_q": Gate("L_Q (eq. 12) on fresh z", 0.2, at_least=False),
    "share": Gate("smallest cluster's share of real cells", 0.03, at_least=True),
    "fidelity": Gate("lowest fidelity: G(c, z) that Q puts back into c", 0.95, at_least=True),
    "diversity": Gate("lowest diversity: spread of 16 prototypes over 16 real cells", 0.5, at_least=True),
    "rotation_agreement": Gate("agreement of a crop's cluster with its rotations'", 0.9, at_least=True),
}


def gate_values(metrics: Metrics) -> dict[str, float]:
    """Return the figure that each gate judges; a cluster that is too small to measure counts as diversity 0."""
    return {
        "loss_q": metrics.loss_q,
        "share": min(cluster.share for cluster in metrics.clusters),
        "fidelity": min(cluster.fidelity for cluster in metrics.clusters),
        "diversity": min(cluster.diversity or 0.0 for cluster in metrics.clusters),
        "rotation_agreement": metrics.rotation_agreement,
    }


def failed_gates(metrics: Metrics) -> list[str]:
    """Return one sentence for each gate that a bundle does not pass; an empty list if it may be shipped."""
    values = gate_values(metrics)
    return [
        f"{gate.title}: {values[name]:.3f}, wanted {gate.wanted}"
        for name, gate in GATES.items()
        if not gate.passes(values[name])
    ]
