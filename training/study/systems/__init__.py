"""The systems that are compared, each with the same interface, and the classifiers on top of them."""
