"""Which slide a name means: the name in a row of a table, or that of a file of regions.

A slide may be named by its id in the batch, by the name of its file, or by a path that ends so, with or without the
ending of the file. A name that several slides have is refused, because a guess would give a patient the cells of
another.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from app.cohort.sources import SlideSource, readable
from app.pipeline.errors import InvalidParameter

SHOWN = 10
"""The largest number of names in a message."""


class Ambiguous(InvalidParameter):
    """A name means several slides, or several names that contradict each other mean one; the text says which."""


class _Names:
    """Slides by their names."""

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._exact: dict[str, set[str]] = {}
        self._folded: dict[str, set[str]] = {}
        for slide, of_slide in names.items():
            for name in of_slide:
                self._exact.setdefault(name, set()).add(slide)
                self._folded.setdefault(name.casefold(), set()).add(slide)

    def slides(self, name: str, *, ignore_case: bool) -> set[str]:
        """Return the ids of the slides that have a name."""
        return (self._folded.get(name.casefold()) if ignore_case else self._exact.get(name)) or set()


def shown_paths(slides: Sequence[SlideSource]) -> dict[str, str]:
    """Return for each id the path of the slide below the folder of all slides; the id where paths are equal."""
    try:
        root = os.path.commonpath([slide.named.parent for slide in slides])
    except ValueError:  # They lie on several drives of Windows.
        return {slide.slide: slide.slide for slide in slides}
    paths = {slide.slide: readable(slide.named.relative_to(root).as_posix()) for slide in slides}
    often = Counter(paths.values())
    return {slide: path if often[path] == 1 else slide for slide, path in paths.items()}


def slides_meant(names: Sequence[str], slides: Sequence[SlideSource], where: str, advice: str) -> dict[str, list[str]]:
    """Find the slide that each name means.

    The case of letters counts only where two slides differ in nothing else, and it does not matter how a letter with an
    accent is stored: macOS stores the accent as a character of its own.

    Args:
        names: names of slides.
        slides: the slides, at least one.
        where: what the names stand in, for messages.
        advice: what the user can write instead, with {} for the path of a slide.

    Returns:
        For the id of each slide, the names that mean it; a name that means none is missing.

    Raises:
        Ambiguous: a name means several slides.
    """
    shown = shown_paths(slides)
    whole = _Names({slide.slide: {_plain(slide.slide), *_forms(shown[slide.slide])} for slide in slides})
    parts = _Names({slide.slide: _ends(slide.named, slide.path) for slide in slides})
    found = {name: _having(name, whole, parts) for name in names}
    settled = set().union(*(of_whole for of_whole, _ in found.values()))
    meant: dict[str, list[str]] = {slide.slide: [] for slide in slides}
    for name, (of_whole, of_part) in found.items():
        # A name that is all of one slide's path and the end of another's means the first, if the other is named too.
        having = of_whole | (of_part - settled) if of_whole else of_part
        if len(having) > 1:
            several = [shown[slide.slide] for slide in slides if slide.slide in having]
            raise Ambiguous(
                f"'{name}' in {where} may mean any of {len(several)} slides: {listed(several)}. "
                + advice.format(several[0])
            )
        for slide in having:
            meant[slide].append(name)
    return meant


def listed(names: Sequence[str]) -> str:
    """Return names for a message: the first of them, and how many there are besides."""
    more = len(names) - SHOWN
    return readable(", ".join(names[:SHOWN])) + (f" and {more} more" if more > 0 else "")


def _having(name: str, whole: _Names, parts: _Names) -> tuple[set[str], set[str]]:
    """Return the slides of which a name is the whole path, and those of which it is a part."""
    plain = _plain(name)
    for ignore_case in (False, True):
        found = [names.slides(plain, ignore_case=ignore_case) for names in (whole, parts)]
        if any(found):
            break
    return found[0], found[1] - found[0]


def _plain(name: str) -> str:
    """Return a name as names are compared: with one form of each letter, and slashes between folders."""
    slashed = unicodedata.normalize("NFC", name).replace("\\", "/").strip().strip("/")
    return slashed.removeprefix("./")


def _forms(*names: str) -> set[str]:
    """Return names as they are compared, with and without the ending of a file."""
    plain = {_plain(name) for name in names}
    return plain | {str(PurePosixPath(name).with_suffix("")) for name in plain if PurePosixPath(name).suffix}


def _ends(*paths: Path) -> set[str]:
    """Return every end of some paths, from the file alone to the whole path."""
    split = [_plain(path.as_posix()).split("/") for path in paths]
    return _forms(*("/".join(parts[i:]) for parts in split for i in range(len(parts))))
