"""The numbers behind the claims, as tables: what every kind of emulator and null shows, and every method."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from sealiency.claims import locality, memory, place, teleconnections
from sealiency.claims.judge import plain
from sealiency.claims.surveys import Surveys


def tabulate_methods(agreements: Iterable[xr.Dataset], fidelities: Iterable[xr.Dataset]) -> list[dict[str, Any]]:
    """Return what every method comes to, one row a lead, kind of emulator and method, means over seeds, pixels and samples.

    Parameters
    ----------
    agreements, fidelities
        Correlations of methods with each other, and with the best linear predictor where it is known.
    """
    found: dict[tuple[int, str, str], dict[str, list[float]]] = {}

    def add(lead: int, kind: str, method: str, column: str, value: float) -> None:
        found.setdefault((lead, kind, method), {}).setdefault(column, []).append(value)

    for agreement in agreements:
        kind = "trained" if agreement.attrs["control"] == "none" else agreement.attrs["control"]
        mean = agreement["correlation"].mean("sample", skipna=False)
        for method in mean["method"].values.tolist():
            for other in mean["other"].values.tolist():
                value = float(mean.loc[{"method": method, "other": other}])
                add(int(agreement.attrs["lead"]), kind, method, f"r with {other}", value)
    for fidelity in fidelities:
        record = "with" if int(fidelity.attrs["filter_width_months"]) > 1 else "without"
        mean = fidelity["correlation"].mean(("pixel", "sample"), skipna=False)
        for name in mean["emulator"].values.tolist():
            for method in mean["method"].values.tolist():
                value = float(mean.loc[{"emulator": name, "method": method}])
                column = f"r with the known answer, {record} filter"
                add(int(fidelity.attrs["lead"]), name.split("_seed")[0], method, column, value)
    columns = list(dict.fromkeys(column for values in found.values() for column in values))
    return [
        {"lead": lead, "kind": kind, "method": method}
        | {column: plain(float(np.mean(values.get(column, [math.nan])))) for column in columns}
        for (lead, kind, method), values in sorted(
            found.items(), key=lambda item: (item[0][0], item[0][1] != "trained")
        )
    ]


def tabulate_measures(measured: Surveys) -> list[dict[str, Any]]:
    """Return every measure of every kind of emulator and null, one row a kind and lead."""
    statistics = (*locality.STATISTICS, *place.STATISTICS, *memory.STATISTICS)
    keys = [*(statistic.key for statistic in statistics), teleconnections.KEY]
    rows = []
    for kind, lead in sorted(measured.series, key=lambda place: (place[1], place[0] != "none", place[0])):
        row: dict[str, Any] = {"lead": lead, "kind": "emulator" if kind == "none" else kind}
        for key in keys:
            measure = measured.measure(kind, lead, key)
            assert measure is not None
            row[key] = plain(measure.value)
        rows.append(row)
    return rows
