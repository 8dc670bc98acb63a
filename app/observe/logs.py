"""The service's log on stderr: one line of JSON for each record, or text for people."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextvars import ContextVar
from typing import Any, Literal

LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]

PRODUCT = ("app", "uvicorn")
"""The loggers that get the chosen level; all other libraries log only warnings and errors."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered; None outside requests and on the worker threads."""


class _Formatter(logging.Formatter):
    """Formats the time in UTC with milliseconds, and collects the fields of a record."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    @staticmethod
    def fields_of(record: logging.LogRecord) -> dict[str, Any]:
        """Return the request id and what was logged with `extra={"fields": …}`; fields that are None are left out."""
        fields = {"request_id": request_id.get(), **getattr(record, "fields", {})}
        return {name: value for name, value in fields.items() if value is not None}


class JsonFormatter(_Formatter):
    """Writes one JSON object per line: time, level, logger, message; then request_id, fields and stack, if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON in ASCII; whatever it holds, there is no line break in it."""
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields_of(record),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(_Formatter):
    """Writes `time LEVEL logger: message name=value …`, with the stack on the lines below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line without the stack."""
        return " ".join(
            [super().formatMessage(record), *(f"{name}={value}" for name, value in self.fields_of(record).items())]
        )


def log_config(form: LogFormat | None, level: LogLevel) -> dict[str, Any]:
    """Return the configuration of all loggers, including uvicorn's, for `logging.config.dictConfig`.

    Args:
        form: the format of the lines; None means text if stderr is a terminal, else JSON.
        level: the lowest level that is logged.
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
