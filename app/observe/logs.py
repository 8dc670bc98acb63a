"""Logs on stderr: a line of JSON for each record, or text for people."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal

from app.observe.context import request_id

LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]

PRODUCT = ("app", "uvicorn")
"""Loggers that have the chosen level; libraries speak up when something is wrong only."""


class _Formatter(logging.Formatter):
    """Time in UTC with milliseconds."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    @staticmethod
    def told(record: logging.LogRecord) -> dict[str, Any]:
        """What the record says besides its message: `extra={"fields": …}`, and the request it belongs to."""
        fields = {"request_id": request_id.get(), **getattr(record, "fields", {})}
        return {name: value for name, value in fields.items() if value is not None}


class JsonFormatter(_Formatter):
    """One object a line: time, level, logger, message; request_id, fields and stack where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON in ASCII, without a line break whatever it holds."""
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.told(record),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(_Formatter):
    """`time LEVEL logger: message name=value …`, and the stack beneath."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line without the stack."""
        return " ".join(
            [super().formatMessage(record), *(f"{name}={value}" for name, value in self.told(record).items())]
        )


def log_config(form: LogFormat | None, level: LogLevel) -> dict[str, Any]:
    """Configuration of every logger, uvicorn's included, for `logging.config.dictConfig`.

    Args:
        form: None is text where a person reads stderr on a terminal, else JSON.
        level: the lowest one that is told.
    """
    kind = TextFormatter if (form or ("text" if sys.stderr.isatty() else "json")) == "text" else JsonFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": {"()": kind}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen"}},
        "loggers": {name: {"level": level.upper()} for name in PRODUCT},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
    }
