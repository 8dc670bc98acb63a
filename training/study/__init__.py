"""What is measured: `python -m training evaluate` and `report`."""
