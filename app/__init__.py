"""Marrowscope: cells, clusters, proportions and label of a bone-marrow tile."""

import os

__version__ = "0.1.0"

# ONNX Runtime would keep a database of what it does, with the machine, the paths of models and the texts of errors, as
# a queue for its maker's server. It reads this variable when it is imported, always after this package.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
