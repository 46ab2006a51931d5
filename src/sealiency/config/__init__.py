"""The configuration of a run: one class a section, every key checked, every field described with its unit."""
