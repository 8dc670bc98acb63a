"""The pages of documentation, and the code that they show."""

import re
import shlex
from typing import NamedTuple

import pytest

from tests.conftest import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])


def name(path):
    return path.relative_to(REPOSITORY).as_posix()


each_page = pytest.mark.parametrize("page", PAGES, ids=name)


def read(path):
    """The text of a page, which is named from the top of the repository or by its full path."""
    return (REPOSITORY / path).read_text(encoding="utf-8")


def without_blocks(text):
    return re.sub(r"(?ms)^```.*?^```", "", text)


def blocks(page, language):
    """The fenced blocks of a page in one language; "" are those without a language."""
    found = re.findall(r"(?ms)^```(\S*)\n(.*?)^```", read(page))
    return [code for told, code in found if told == language]


def anchors(text):
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ +(.+?)\s*$", without_blocks(text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(page, heading):
    """The rows of the first table below a heading, each a list of its cells without the header."""
    section = read(page).split(f"# {heading}\n", 1)[1]
    rows = re.search(r"(?m)(?:^\|.*\n)+", section)[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def quoted(text):
    """All that stands in backticks in a piece of text."""
    return re.findall(r"`([^`]+)`", text)


class Command(NamedTuple):
    """A command that a page shows.

    Attributes:
        words: its words, without variables before it and redirections after it.
        is_whole: whether it can be run as it stands; a command within a sentence may lack arguments.
    """

    words: list[str]
    is_whole: bool


def commands(page):
    """All commands of a page: indented lines, and code within sentences."""
    text = without_blocks(read(page))
    lines = [(line, True) for line in re.findall(r"(?m)^ {4}(?! *[{*])(\S.*)$", text)]
    lines += [(code.replace("\n", " "), False) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    for line, is_whole in lines:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # no command: a quotation mark that is not closed
            assert not is_whole, line
            continue
        for command in _split(words):
            yield Command(command, is_whole)


def _split(words):
    """The commands of a line, which are joined by && or |."""
    found, skip = [[]], False
    for word in words:
        if word in {"&&", "|"}:
            found.append([])
        elif word in {">", "<"}:
            skip = True
        elif skip:
            skip = False
        elif found[-1] or not re.match(r"[A-Z_]+=", word):
            found[-1].append(word)
    return [words for words in found if words]
