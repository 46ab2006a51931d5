"""The `sealiency` command."""

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sealiency import __version__
from sealiency.attribution.planning import plan_shards
from sealiency.config.document import generate_documents
from sealiency.config.run import read_configuration
from sealiency.errors import SealiencyError
from sealiency.esgf.manifest import name_manifest
from sealiency.esgf.resolve import check_manifest, resolve_dataset
from sealiency.files import write_whole
from sealiency.site.check import check_site
from sealiency.validation import describe_run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 1 after one clear message on bad input or, for a check, on a difference."""
    parser = argparse.ArgumentParser(prog="sealiency", description="Helpers around the sealiency workflow.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    validate = commands.add_parser(
        "validate",
        help="check configuration files, and the record where it is there; list every problem and what a run takes",
    )
    validate.add_argument("files", nargs="+", type=Path)
    document = commands.add_parser("document", help="write config/default.yaml, its schema and docs/configuration.md")
    document.add_argument("--root", type=Path, default=Path(), help="top folder of the checkout")
    plan = commands.add_parser("plan", help="print how the attribution is divided into jobs, and what they will need")
    plan.add_argument("file", type=Path, help="configuration file")
    calibrate = commands.add_parser("calibrate", help="measure the speed of attribution on this machine, for the plan")
    calibrate.add_argument("file", type=Path, help="configuration file of a run whose record is prepared")
    calibrate.add_argument("--output", type=Path, required=True, help="file to write, for attribution.calibration")
    site = commands.add_parser(
        "check-site", help="verify a supercomputer and its site file before anything is submitted"
    )
    site.add_argument("--config", type=Path, help="configuration file of a run, whose folder and jobs are checked too")
    site.add_argument("--minutes", type=float, default=10, help="longest wait for the jobs of the check (default 10)")
    esgf = commands.add_parser("esgf", help="the CMIP6 archive").add_subparsers(dest="action", required=True)
    resolve = esgf.add_parser("resolve", help="pin the data set of a configuration in its manifest")
    resolve.add_argument("file", type=Path, help="configuration file with data.esgf")
    either = resolve.add_mutually_exclusive_group()
    either.add_argument("--check", action="store_true", help="report what the index says that the manifest does not")
    either.add_argument("--replace", action="store_true", help="replace a manifest that is there")
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "validate":
                return _validate(options.files)
            case "document":
                for path, text in generate_documents(options.root).items():
                    _write(path, text)
                return 0
            case "plan":
                print(plan_shards(read_configuration(options.file)).describe())
                return 0
            case "calibrate":
                return _calibrate(options.file, options.output)
            case "check-site":
                return _check_site(options.config, options.minutes)
            case _:
                return _resolve(options.file, options.check, options.replace)
    except SealiencyError as error:
        print(error, file=sys.stderr)
        return 1


def _validate(files: Sequence[Path]) -> int:
    status = 0
    for path in files:
        try:
            described = describe_run(read_configuration(path))
        except SealiencyError as error:
            # Problems of the settings name their file; what is found beyond them does not.
            print(error if str(path) in str(error) else f"{path}: {error}", file=sys.stderr)
            status = 1
        else:
            print(f"{path}: valid\n{described}")
    return status


def _calibrate(file: Path, output: Path) -> int:
    configuration = read_configuration(file)
    # Here, because PyTorch takes seconds that the other commands do without.
    from sealiency.attribution.calibration import calibrate

    measured = calibrate(configuration)
    _write(output, json.dumps(measured, indent=1) + "\n")
    print(f"{output}: {measured['attributions_per_second']:,.3g} attributions a second on {measured['device']}")
    return 0


def _check_site(config: Path | None, minutes: float) -> int:
    # However it ends, its jobs and files must not stay.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    failed = 0
    findings = check_site(config, minutes, lambda line: print(line, file=sys.stderr, flush=True))
    try:
        for finding in findings:
            print(finding, flush=True)
            failed += finding.status == "fails"
    except KeyboardInterrupt:
        findings.close()
        print("interrupted; its jobs are cancelled and its files removed", file=sys.stderr)
        return 130
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 1 if failed else 0


def _resolve(file: Path, check: bool, replace: bool) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings = read_configuration(file).data.esgf
    if settings is None:
        raise SealiencyError(f"{file}: data.esgf is missing; name the data set in data.esgf.facets")
    if not check:
        print(resolve_dataset(settings, replace).describe())
        return 0
    changes = check_manifest(settings)
    print("\n".join(changes) or f"{name_manifest(settings)}: as the index says")
    return 1 if changes else 0


def _write(path: Path, text: str) -> None:
    with write_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
