"""Read an audit log and find the lines that were changed, removed or inserted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.audit.chain import GENESIS, ROTATED, Link, decode, line_hash

UNREADABLE = "it is not a line of an audit log"
CUT = "it is cut short, and no line follows: the power failed while it was written, or its end was removed"


@dataclass(frozen=True, slots=True)
class Finding:
    """A remark on one line of a log.

    Attributes:
        file: the file with the line.
        line: the number of the line in the file, from 1.
        text: the remark.
        is_fault: True if somebody must have altered the log; False for what happens by itself, such as a power cut.
    """

    file: Path
    line: int
    text: str
    is_fault: bool = True

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.text}"


@dataclass(slots=True)
class Report:
    """The state of a log.

    Attributes:
        findings: the remarks, in the order of the lines.
        n_lines: the number of lines, including those that were cut short.
        last: the hash of the last line. Kept elsewhere, it proves later that no line was removed from the end.
    """

    findings: list[Finding] = field(default_factory=list)
    n_lines: int = 0
    last: str = GENESIS

    @property
    def is_intact(self) -> bool:
        """Whether no line was changed, removed or inserted."""
        return not any(finding.is_fault for finding in self.findings)


def verify(files: Sequence[Path]) -> Report:
    """Check every line against the line before it, from the first file to the last.

    Args:
        files: the files of one log, oldest first.

    Raises:
        OSError: a file cannot be read.
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
    """Yield the lines of a file with their line breaks, without those that a service appends in the meantime.

    Raises:
        OSError: the file cannot be read.
    """
    with file.open("rb") as opened:
        left = file.stat().st_size
        while left > 0 and (line := opened.readline(left)):
            left -= len(line)
            yield line


def _faults(content: dict[str, Any] | None, before: Link | None) -> list[str]:
    """Return what is wrong with a line and the line before it.

    Of a line that cannot be read, only the next line shows whether it was cut short.
    """
    if content is None:
        return []
    number, previous = content["line"], content["previous"]
    if before is None:
        if (number, previous) == (1, GENESIS) or content.get("event") == ROTATED:
            return []
        return [f"it is line {number} of the log, but neither the first line nor one that continues another file"]
    expected = before.number + 1
    if previous != before.sha256:
        if number > expected:
            return [f"before it, {_count(number - expected)} missing (it calls itself line {number} of the log)"]
        if number < expected:
            return [
                f"before it, a line was inserted (it calls itself line {number} of the log, but is line {expected})"
            ]
        return ["it or the line before it was changed: it names another hash than that line has"]
    faults = []
    if number != expected:
        faults.append(f"it calls itself line {number} of the log, expected {expected}")
    if before.is_cut and not content.get("after_cut"):
        faults.append("the line before it cannot be read")
    return faults


def _note(content: dict[str, Any] | None, before: Link | None) -> str | None:
    """Return a remark on something that is no fault, or None."""
    if content is None:
        return None
    if before is None and content["line"] > 1:
        return f"the log begins with line {content['line']}; the earlier lines are in a file that was not given"
    if before and content.get("after_cut") and content["previous"] == before.sha256:
        return "the line before it was cut short while it was written (a power cut?); that request was not answered"
    return None


def _count(n: int) -> str:
    return "1 line is" if n == 1 else f"{n} lines are"
