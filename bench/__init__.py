"""Speed and memory, ours against the reference recipe in one run."""
