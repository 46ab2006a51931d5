"""The emulators and their training."""
