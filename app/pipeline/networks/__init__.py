"""Networks: Q, which sorts crops into clusters, and G, which generates prototypes.

`open` chooses the backend that computes them, `onnx` or `pytorch`; both offer what `backend` describes. `encode` is the
stage that the rest of the pipeline calls.
"""
