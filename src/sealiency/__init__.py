"""Where in the sea, and when, an emulator's forecast of sea surface temperature comes from.

For notebooks: `attribute` explains forecasts of any network of known operations, `open_run` opens a finished run. Nothing
heavy is imported before it is used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["attribute", "open_run"]

if TYPE_CHECKING:
    from sealiency.notebook.attributing import attribute
    from sealiency.notebook.run import open_run


def __getattr__(name: str) -> Any:
    if name == "attribute":
        from sealiency.notebook.attributing import attribute

        return attribute
    if name == "open_run":
        from sealiency.notebook.run import open_run

        return open_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
