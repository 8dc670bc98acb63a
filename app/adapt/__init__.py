"""Adapt a bundle to a laboratory: from its unlabelled tiles, how they look and what is usual there."""
