"""Where in the sea, and when, an emulator's forecast of sea surface temperature comes from."""

__version__ = "0.1.0"
