"""`python -m app.openapi [--check]` writes openapi.json, or checks that it is what the service serves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from app.files import write_or_check
from app.main import create_app
from app.settings import Settings

PATH = Path(__file__).parents[1] / "openapi.json"


def document() -> str:
    """Return the document that the service serves as /openapi.json, indented for reading."""
    return json.dumps(create_app(Settings()).openapi(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with --check compare it. Returns the exit status, 0 for success."""
    outdated = "openapi.json is not what the service serves: run `make openapi` and commit it."
    return write_or_check(PATH, document(), outdated, is_check="--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
