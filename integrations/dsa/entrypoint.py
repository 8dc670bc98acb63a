"""The entry point of the image for the Digital Slide Archive, as its `slicer_cli_web` calls it.

`--list_cli` lists the tasks, `TASK --xml` describes one, and `TASK ARGUMENTS…` runs it.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TASKS = HERE / "slicer_cli_list.json"


def main() -> None:
    """Do what the arguments of the command line say; exit with status 2 if they name no task."""
    task, *arguments = sys.argv[1:] or [""]
    if task == "--list_cli":
        print(TASKS.read_text(encoding="utf-8"), end="")
        return
    tasks = json.loads(TASKS.read_text(encoding="utf-8"))
    if task not in tasks:
        print(f"usage: --list_cli | TASK --xml | TASK ARGUMENTS…    (tasks: {', '.join(tasks)})", file=sys.stderr)
        sys.exit(2)
    script = HERE / task / f"{task}.py"
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
