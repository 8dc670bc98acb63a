"""Figures: the paper's figures 5 and 7 to 10, and the errors of detection, drawn from what was trained and measured."""
