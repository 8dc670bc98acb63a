"""Measure where the cells of a slide lie: their density, their distances to each other, and islands of one cluster."""
