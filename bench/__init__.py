"""Speed and memory of Marrowscope, measured beside the reference recipe and beside what the machine allows.

`python -m bench` (`make bench`) measures tiles and the service, `bench.slides` whole slides and `bench.sweep` the
service's settings; `bench.scale` works out what many slides a day need.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The repository."""
BUNDLE = ROOT / "models" / "marrow"
"""The shipped bundle, which everything is measured with."""
