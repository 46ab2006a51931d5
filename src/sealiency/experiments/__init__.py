"""What is tried on trained emulators: single forecasts, ablations, comparisons."""
