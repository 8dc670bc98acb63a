"""The paper's figures 5 and 7 to 10, drawn from what was trained and measured."""
