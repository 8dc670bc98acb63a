"""Q and G: who computes them (ONNX Runtime or PyTorch), in which batches, and their architecture."""
