"""Run a command, and read what it prints."""

import csv
import re

from typer.testing import CliRunner

from app.__main__ import cli


def run(*arguments, status=0, columns=80):
    runner = CliRunner(env={"COLUMNS": str(columns)})
    result = runner.invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


def analyze(*arguments, status=0):
    return run("analyze", *arguments, status=status)


def words(text):
    """Without the frame round a usage error or help, and its line breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def usage_error(*arguments):
    result = run(*arguments, status=2, columns=1000)
    assert result.stdout == ""
    return words(result.stderr)


def listing(folder):
    """Every file beneath a folder, as text."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def summary_of(folder):
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
