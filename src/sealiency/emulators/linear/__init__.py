"""Linear predictors: emulators that need no network, one a file."""
