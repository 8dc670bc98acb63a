"""Where the cells of a slide lie: density, neighbours and islands."""
