"""Write the results of a slide, and those of all slides of a batch together."""
