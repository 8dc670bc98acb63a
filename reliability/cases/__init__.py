"""Inputs that could be answered wrongly without a word, and the right answer to each."""
