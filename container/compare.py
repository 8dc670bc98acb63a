"""Check that the service in a container answers as the shell outside of it: `compare.py ADDRESS FACTS`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from app.client import Client

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("MARROWSCOPE_DATA", ROOT.parent / "shared" / "data"))


def tiles() -> list[Path]:
    """Return the sample of the bundle, and a public tile if the data are available."""
    public = DATA / "bm_graz" / "tiles" / "BM_GRAZ_HE_0007_01.png"
    return [ROOT / "models" / "marrow" / "sample.png", *([public] if public.is_file() else [])]


def outside(tile: Path) -> dict[str, Any]:
    """Return the answer of the shell in this environment."""
    command = [sys.executable, "-m", "app", "analyze", str(tile)]
    answer: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    return answer


def main(address: str, facts: Path) -> None:
    """Compare cells, clusters and label of each tile, and record how many cells agree."""
    with Client(address) as service, facts.open("a", encoding="utf-8") as file:
        if not service.is_ready():
            sys.exit("compare: the service is not ready: its golden pair was not reproduced")
        print("golden_pair\treproduced", file=file)
        for tile in tiles():
            inside, wanted = service.analyze(tile).model_dump(mode="json"), outside(tile)
            for part in ("tile", "cells", "clusters", "label", "quality"):
                if inside[part] != wanted[part]:
                    sys.exit(f"compare: {part} of {tile.name} differ in the container")
            print(f"same_cells_{tile.stem}\t{len(wanted['cells'])}", file=file)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
