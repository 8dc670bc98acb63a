"""The method itself, from the bytes of a tile to its analysis; `run` has the stages in order.

It knows no HTTP and no settings. It imports PyTorch only where ONNX Runtime cannot compute the networks.
"""
