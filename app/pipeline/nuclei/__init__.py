"""From a stained tile to its nuclei: finding, splitting, measuring and outlining them."""
