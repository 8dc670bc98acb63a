"""The state of a run of the segmenter, and one step of its training."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from app.pipeline.networks.architecture import Segmenter
from training.config import SegmenterConfig
from training.segmenter.views import LessonSampler


class SegmenterTrainer:
    """The network of a run, and all that decides the rest of the run.

    Args:
        config: the configuration of the run.
        device: the network lives there. Every random draw is made on the CPU.

    Attributes:
        iteration: steps done in all rounds.
        round: number of the round, from 0.
        step_of_round: steps done in this round.
        net: the network that learns.
        average: exponential moving average of its weights, which is checked and exported.
        before: the weights of the average with which this round began; None in the first round.
        best: the weights of the best average of this round, and its score; None before the first check.
        checks_without_gain: how many checks there have been since then.
    """

    def __init__(self, config: SegmenterConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.iteration = 0
        self.net = Segmenter(config.channels).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.net).eval()
        self.random = torch.Generator().manual_seed(config.seed)
        self.begin_round(0)

    def begin_round(self, number: int) -> None:
        """Begin a round with the weights at hand, and with nothing learned about their gradients."""
        self.round = number
        self.before = copy.deepcopy(self.average.state_dict()) if number else None
        self.step_of_round = 0
        self.best: dict[str, Any] | None = None
        self.checks_without_gain = 0
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), self.config.learning_rate, weight_decay=self.config.weight_decay
        )

    @property
    def round_is_over(self) -> bool:
        """Whether this round has done all its steps, or has not become better for too long."""
        return self.step_of_round >= self.config.max_steps or self.checks_without_gain >= self.config.patience

    @property
    def is_finished(self) -> bool:
        """Whether the last round is over."""
        return self.round == self.config.rounds - 1 and self.round_is_over

    def step(self, sample: LessonSampler) -> dict[str, Tensor]:
        """Learn from one batch.

        Returns:
            The losses by name, scalars on the device.
        """
        tiles, labels = (drawn.to(self.device, non_blocking=True) for drawn in sample())
        tiles = tiles.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            logits = self.net(tiles)
        losses = map_losses(logits.float(), labels)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * min(1.0, (self.step_of_round + 1) / self.config.warmup_steps)
        self.optimiser.zero_grad()
        (losses["loss_nucleus"] + losses["loss_depth"]).backward()
        self.optimiser.step()
        self.iteration += 1
        self.step_of_round += 1
        self._update_average()
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def _update_average(self) -> None:
        # With the full decay from the beginning, the random start would weigh in for many steps.
        decay = min(self.config.ema_decay, self.iteration / (self.iteration + 10))
        for target, source in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if target.is_floating_point():
                target.lerp_(source, 1 - decay)
            else:
                target.copy_(source)

    def keep_if_best(self, score: float) -> None:
        """Keep the weights of the average if their score is the best of this round."""
        if self.best is None or score >= self.best["score"]:
            self.best = {"score": score, "weights": copy.deepcopy(self.average.state_dict())}
            self.checks_without_gain = 0
        else:
            self.checks_without_gain += 1

    def take_best(self) -> None:
        """Go on with the best weights of this round or, after the first, with their mean with those before the round.

        A round finds more, and more that is none. Half way, most of the one is kept, and little of the other.
        """
        if self.best is None:
            return
        weights = self.best["weights"]
        if self.before is not None:
            weights = {name: torch.lerp(self.before[name].float(), each.float(), 0.5) for name, each in weights.items()}
        # Counts of batches are whole numbers: what is loaded takes the type of what is there.
        self.net.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the run, as tensors and plain values."""
        return {
            "iteration": self.iteration,
            "round": self.round,
            "step_of_round": self.step_of_round,
            "random": self.random.get_state(),
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "before": self.before,
            "best": self.best,
            "checks_without_gain": self.checks_without_gain,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state that `state` returned."""
        self.begin_round(state["round"])
        self.iteration, self.step_of_round = state["iteration"], state["step_of_round"]
        self.before, self.best = state["before"], state["best"]
        self.checks_without_gain = state["checks_without_gain"]
        self.random.set_state(state["random"].cpu())
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])


def map_losses(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the cross entropy of each map, a mean over the pixels that weighs each by how certain it is.

    Args:
        logits: (B, 2, h, w), nucleus and depth.
        labels: (B, 4, h, w), nucleus, depth, uncertain and undivided, 0–1.
    """
    certain = 1 - labels[:, 2]
    certain = torch.stack([certain, certain * (1 - labels[:, 3])], dim=1)
    wrong = functional.binary_cross_entropy_with_logits(logits, labels[:, :2], reduction="none") * certain
    nucleus, depth = wrong.sum(dim=(0, 2, 3)) / certain.sum(dim=(0, 2, 3)).clamp_min(1)
    return {"loss_nucleus": nucleus, "loss_depth": depth}
