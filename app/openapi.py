"""`python -m app.openapi [--check]` writes openapi.json, or checks that it is what the service serves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from app.main import create_app
from app.settings import Settings

PATH = Path(__file__).parents[1] / "openapi.json"


def document() -> str:
    """Return the document that the service serves as /openapi.json, indented for reading."""
    return json.dumps(create_app(Settings()).openapi(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with --check compare it. Returns the exit status, 0 for success."""
    if "--check" not in arguments:
        PATH.write_text(document(), encoding="utf-8")
        return 0
    if PATH.is_file() and PATH.read_text(encoding="utf-8") == document():
        return 0
    sys.stderr.write("openapi.json is not what the service serves: run `make openapi` and commit it.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
