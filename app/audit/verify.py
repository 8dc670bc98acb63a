"""Read a log, and find what somebody changed, removed or inserted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.audit.chain import GENESIS, ROTATED, Link, decode, line_hash

UNREADABLE = "it is not a line of an audit log"
CUT = "it is cut short, and no line follows: the power failed while it was written, or the end was taken away"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one line.

    Attributes:
        file: where it is.
        line: in the file, from 1.
        text: what is the matter, in words.
        is_fault: False for what happens without anybody's doing.
    """

    file: Path
    line: int
    text: str
    is_fault: bool = True

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.text}"


@dataclass(slots=True)
class Report:
    """What a log looks like.

    Attributes:
        findings: in the order of the lines.
        n_lines: how many there are, those that are cut included.
        last: the hash of the last line; kept elsewhere, it shows later that no line was taken from the end.
    """

    findings: list[Finding] = field(default_factory=list)
    n_lines: int = 0
    last: str = GENESIS

    @property
    def is_intact(self) -> bool:
        """Nobody has changed, removed or inserted a line."""
        return not any(finding.is_fault for finding in self.findings)


def verify(files: Sequence[Path]) -> Report:
    """Check every line against the one before, from the first file to the last.

    Args:
        files: of one log, oldest first.

    Raises:
        OSError: one cannot be read.
    """
    report = Report()
    before: Link | None = None
    for file in files:
        for number, raw in enumerate(lines(file), start=1):
            line = raw.removesuffix(b"\n")
            report.n_lines += 1
            report.last = line_hash(line)
            content = decode(line)
            report.findings += [Finding(file, number, text) for text in _faults(content, before)]
            if note := _note(content, before):
                report.findings.append(Finding(file, number, note, is_fault=False))
            expected = 1 if before is None else before.number + 1
            before = Link(content["line"] if content else expected, report.last, is_cut=content is None)
    if before and (before.is_cut or raw == line):
        report.findings.append(Finding(file, number, CUT if raw == line else UNREADABLE))
    return report


def lines(file: Path) -> Iterator[bytes]:
    """The lines that are there when it begins, with their ends; what a service writes meanwhile is left out.

    Raises:
        OSError: the file cannot be read.
    """
    with file.open("rb") as opened:
        left = file.stat().st_size
        while left > 0 and (line := opened.readline(left)):
            left -= len(line)
            yield line


def _faults(content: dict[str, Any] | None, before: Link | None) -> list[str]:
    """What is wrong between a line and the one before; whether a line that cannot be read was cut, the next says."""
    if content is None:
        return []
    number, previous = content["line"], content["previous"]
    if before is None:
        if (number, previous) == (1, GENESIS) or content.get("event") == ROTATED:
            return []
        return [f"it is line {number} of the log, but neither its first one nor that of a new file"]
    expected = before.number + 1
    if previous != before.sha256:
        if number > expected:
            return [f"before it, {_count(number - expected)} missing (it is line {number} of the log)"]
        if number < expected:
            return [f"before it, a line was inserted (it is line {number} of the log, and the {expected}th here)"]
        return ["it or the line before it was changed: the hash that it names is not that line's"]
    faults = []
    if number != expected:
        faults.append(f"it says that it is line {number} of the log, expected {expected}")
    if before.is_cut and not content.get("after_cut"):
        faults.append("the line before it cannot be read")
    return faults


def _note(content: dict[str, Any] | None, before: Link | None) -> str | None:
    """What is as it should be, and yet worth telling."""
    if content is None:
        return None
    if before is None and content["line"] > 1:
        return f"the log begins with line {content['line']}; those before are in a file that was not given"
    if before and content.get("after_cut") and content["previous"] == before.sha256:
        return "the line before it was cut short while it was written (power?); that request was not answered"
    return None


def _count(n: int) -> str:
    return "1 line is" if n == 1 else f"{n} lines are"
