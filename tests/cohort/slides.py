"""Slides that need not be there."""

from collections import Counter
from pathlib import Path

from app.cohort.sources import SlideSource


def slides_at(*paths):
    """Return slides of these paths below /study, with the ids that they have if that folder is named."""
    stems = [str(Path(path).with_suffix("")).replace("/", "--") for path in paths]
    often = Counter(stem.casefold() for stem in stems)
    return [
        SlideSource(stem if often[stem.casefold()] == 1 else path, Path("/study", path), Path("/study", path))
        for stem, path in zip(stems, paths, strict=True)
    ]
