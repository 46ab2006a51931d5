"""The `sealiency` command."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from sealiency import __version__
from sealiency.config.document import generate_documents
from sealiency.config.run import read_configuration
from sealiency.errors import SealiencyError
from sealiency.esgf.manifest import name_manifest
from sealiency.esgf.resolve import check_manifest, resolve_dataset
from sealiency.files import write_whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 1 after one clear message on bad input or, for a check, on a difference."""
    parser = argparse.ArgumentParser(prog="sealiency", description="Helpers around the sealiency workflow.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    validate = commands.add_parser("validate", help="check configuration files and list every problem")
    validate.add_argument("files", nargs="+", type=Path)
    document = commands.add_parser("document", help="write config/default.yaml, its schema and docs/configuration.md")
    document.add_argument("--root", type=Path, default=Path(), help="top folder of the checkout")
    esgf = commands.add_parser("esgf", help="the CMIP6 archive").add_subparsers(dest="action", required=True)
    resolve = esgf.add_parser("resolve", help="pin the data set of a configuration in its manifest")
    resolve.add_argument("file", type=Path, help="configuration file with data.esgf")
    either = resolve.add_mutually_exclusive_group()
    either.add_argument("--check", action="store_true", help="report what the index says that the manifest does not")
    either.add_argument("--replace", action="store_true", help="replace a manifest that is there")
    options = parser.parse_args(arguments)
    if options.command == "esgf":
        return _resolve(options.file, options.check, options.replace)
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


def _resolve(file: Path, check: bool, replace: bool) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        settings = read_configuration(file).data.esgf
        if settings is None:
            raise SealiencyError(f"{file}: data.esgf is missing; name the data set in data.esgf.facets")
        if not check:
            print(resolve_dataset(settings, replace).describe())
            return 0
        changes = check_manifest(settings)
    except SealiencyError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(changes) or f"{name_manifest(settings)}: as the index says")
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main())
