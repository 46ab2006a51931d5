"""What `compliance-checker --test=cf:1.11` finds in NetCDF files, and what it does not look at."""

from collections.abc import Sequence
from pathlib import Path

import netCDF4
import numpy as np
from compliance_checker.cf.cf_1_11 import CF1_11Check
from compliance_checker.suite import CheckSuite

STANDARD = "cf:1.11"


def find_faults(paths: Sequence[Path]) -> list[str]:
    """Return every finding in the files, of the checker at its strictest and of our own; it needs no network."""
    # This one alone: some of the others warn of their age as they are loaded.
    CheckSuite.checkers = {STANDARD: CF1_11Check}
    return [f"{path}: {fault}" for path in paths for fault in (*_ask_checker(path), *_find_undescribed(path))]


def _ask_checker(path: Path) -> list[str]:
    suite = CheckSuite()
    with suite.load_dataset(str(path)) as dataset:
        results, exceptions = suite.run_all(dataset, [STANDARD])[STANDARD]
    # The command line gives no more at --criteria=strict.
    report = suite.dict_output(STANDARD, results, str(path), limit=1)
    return [
        *(
            f"{section['name']}: {message}"
            for priority in ("high", "medium", "low")
            for section in report[f"{priority}_priorities"]
            # Some of what passes has a message too.
            if section["value"][0] < section["value"][1]
            for message in section["msgs"]
        ),
        *(f"{name} of the checker fails: {exception}" for name, (exception, _) in exceptions.items()),
    ]


def _find_undescribed(path: Path) -> list[str]:
    """Return what the checker does not ask for: every variable has a name, and numbers a unit."""
    faults = []
    with netCDF4.Dataset(path) as dataset:
        # Bounds have the name and the unit of their coordinate.
        bounds = {variable.bounds for variable in dataset.variables.values() if "bounds" in variable.ncattrs()}
        for name in dataset.variables.keys() - bounds:
            variable = dataset[name]
            wanted = {"long_name"} if np.dtype(variable.dtype).kind in "SU" else {"long_name", "units"}
            faults += [f"{name} has no {attribute}" for attribute in wanted - set(variable.ncattrs())]
    return sorted(faults)
