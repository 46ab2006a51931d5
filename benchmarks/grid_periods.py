"""Whether maps of lag and radius show a grid of the network's own: power at periods of 2 and 4 cells beside neighbouring periods.

    python benchmarks/grid_periods.py results/<run>/reduce_shards/<model>/<method>/attributions.nc ...

Every run of ocean cells along a row or a column that is long enough is freed of its linear trend, tapered (Hann) and transformed. The power
at a period is set beside the geometric mean of that at neighbouring periods, all averaged over the runs. 1 is no grid. (It was the plain mean
until it was looked at: maps of a sea are smooth, and the plain mean of a falling spectrum hides a peak at 4 cells.)
"""

import sys
from collections.abc import Iterator

import numpy as np
import xarray as xr
from scipy.signal import periodogram

from sealiency.claims.profiles import measure_mean_lag, measure_radius, sum_profile

LENGTH = 16
# Cycles a cell; the neighbours of a period of 2 lie on one side only.
PERIODS = {
    2: (0.5, (0.375, 0.4375)),
    4: (0.25, (0.125, 0.1875, 0.3125, 0.375)),
}


def list_runs(field: np.ndarray) -> Iterator[np.ndarray]:
    """Yield runs of `LENGTH` cells without a gap, along rows and columns."""
    for line in (*field, *field.T):
        for start in range(0, len(line) - LENGTH + 1, LENGTH // 2):
            run = line[start : start + LENGTH]
            if np.isfinite(run).all():
                yield run


def measure_grid(field: np.ndarray) -> dict[int, float]:
    """Return the power at each period by the geometric mean of that at its neighbours."""
    spectra = [periodogram(run, window="hann", detrend="linear") for run in list_runs(field)]
    if not spectra:
        raise SystemExit(f"no run of {LENGTH} ocean cells; take a larger region")
    frequencies, power = spectra[0][0], np.mean([power for _, power in spectra], axis=0)
    at = {round(float(frequency), 4): float(value) for frequency, value in zip(frequencies, power, strict=True)}
    # The end of the spectrum holds one side alone of what the others hold twice.
    at[0.5] *= 2
    return {
        period: at[here] / float(np.exp(np.mean(np.log([at[one] for one in near]))))
        for period, (here, near) in PERIODS.items()
    }


def main(paths: list[str]) -> None:
    """Print a table, one row a map."""
    print(f"{'file':40s} {'map':12s} {'2 cells':>8s} {'4 cells':>8s}")
    for path in paths:
        with xr.open_dataset(path) as attributions:
            profile, bounds = sum_profile(attributions), attributions["distance_bounds"].load()
            values = {
                "mean lag": measure_mean_lag(attributions),
                "radius 50 %": measure_radius(profile, bounds, 0.5),
                "radius 90 %": measure_radius(profile, bounds, 0.9),
            }
            rows, columns = attributions["pixel_row"].values, attributions["pixel_column"].values
            for name, found in values.items():
                field = np.full(attributions["ocean"].shape, np.nan)
                field[rows, columns] = found.values
                grid = measure_grid(field)
                print(f"{path[-40:]:40s} {name:12s} {grid[2]:8.2f} {grid[4]:8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
