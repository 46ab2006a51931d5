"""The `sealiency` command."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sealiency import __version__
from sealiency.config.document import generate_documents
from sealiency.config.run import read_configuration
from sealiency.errors import SealiencyError
from sealiency.files import write_whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 1 after one clear message on bad input."""
    parser = argparse.ArgumentParser(prog="sealiency", description="Helpers around the sealiency workflow.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    validate = commands.add_parser("validate", help="check configuration files and list every problem")
    validate.add_argument("files", nargs="+", type=Path)
    document = commands.add_parser("document", help="write config/default.yaml, its schema and docs/configuration.md")
    document.add_argument("--root", type=Path, default=Path(), help="top folder of the checkout")
    options = parser.parse_args(arguments)
    if options.command == "document":
        for path, text in generate_documents(options.root).items():
            with write_whole(path) as partial:
                partial.write_text(text, encoding="utf-8")
        return 0
    status = 0
    for path in options.files:
        try:
            read_configuration(path)
        except SealiencyError as error:
            print(error, file=sys.stderr)
            status = 1
        else:
            print(f"{path}: valid")
    return status


if __name__ == "__main__":
    sys.exit(main())
