"""The report that every run ends with, and the captions of its figures."""

from pathlib import Path

TEMPLATE = Path(__file__).with_name("report.html.jinja")
"""Jinja2 template of the report."""
