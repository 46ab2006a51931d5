"""The figures, one module each; every function returns a matplotlib figure."""
