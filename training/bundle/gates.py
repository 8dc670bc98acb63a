"""What a bundle must have learned before anyone is served by it."""

from __future__ import annotations

from dataclasses import dataclass

from app.pipeline.manifest import Metrics


@dataclass(frozen=True)
class Gate:
    """A bound on one figure."""

    title: str
    bound: float
    at_least: bool

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f"{'≥' if self.at_least else '<'} {self.bound:g}"

    def passes(self, value: float) -> bool:
        """Whether a figure is within the bound."""
        return value >= self.bound if self.at_least else value < self.bound


GATES = {
    "loss_q": Gate("L_Q (eq. 12) on fresh z", 0.2, at_least=False),
    "share": Gate("smallest cluster's share of real cells", 0.03, at_least=True),
    "fidelity": Gate("lowest fidelity: G(c, z) that Q puts back into c", 0.95, at_least=True),
    "diversity": Gate("lowest diversity: spread of 16 prototypes over 16 real cells", 0.5, at_least=True),
    "rotation_agreement": Gate("agreement of a crop's cluster with its rotations'", 0.9, at_least=True),
}


def gate_values(metrics: Metrics) -> dict[str, float]:
    """The figure that each gate is held against; a cluster too small to measure has diversity 0."""
    return {
        "loss_q": metrics.loss_q,
        "share": min(cluster.share for cluster in metrics.clusters),
        "fidelity": min(cluster.fidelity for cluster in metrics.clusters),
        "diversity": min(cluster.diversity or 0.0 for cluster in metrics.clusters),
        "rotation_agreement": metrics.rotation_agreement,
    }


def failed_gates(metrics: Metrics) -> list[str]:
    """The gates that a bundle does not pass, in words; empty when it may be shipped."""
    values = gate_values(metrics)
    return [
        f"{gate.title}: {values[name]:.3f}, wanted {gate.wanted}"
        for name, gate in GATES.items()
        if not gate.passes(values[name])
    ]
