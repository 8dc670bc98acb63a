"""Runs that are cut off, and what they are compared by with runs that are not."""

import torch


def same(one, other):
    """Whether two nested states are equal to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def crash_after(steps):
    """A progress bar during which the power fails."""

    def track(planned):
        for done, i in enumerate(planned):
            if done == steps:
                raise KeyboardInterrupt
            yield i

    return track
