"""How near to the bound a linear predictor can come that reads filtered months only: the demo's world, a 12-month mean, lead 1.

    python benchmarks/filtered_bound.py

The bound reads the raw months, which a running mean hides. For some pixels drawn at random, ridge regression on the 36 filtered months of the
nearest cells is fitted on four fifths of a long simulation and tested on the last. The table gives the share of the gain from persistence to the
bound that the best of its penalties takes: an emulator of the same months can hardly take more.
"""

import itertools

import numpy as np
import scipy.spatial

from sealiency.config.data import Region
from sealiency.worlds.ocean import simulate_anomalies
from sealiency.worlds.ocean_physics import build_forcing, build_propagator, find_ocean_cells, solve_current

YEARS, WIDTH, HISTORY, CELLS, PIXELS = 3000, 12, 36, 25, 5
PENALTIES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


def main() -> None:
    """Print a table, one row a pixel."""
    cells = find_ocean_cells(2, Region(south=0, north=70, west=-100, east=24))
    propagator = build_propagator(cells, solve_current(cells))
    years = itertools.islice(simulate_anomalies(propagator, build_forcing(cells), seed=7), YEARS)
    raw = np.concatenate(list(years))
    lat, lon = np.deg2rad(cells.lat), np.deg2rad(cells.lon)
    tree = scipy.spatial.KDTree(np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1))
    print(f"{'pixel':>16s} {'share of gain':>14s}")
    for pixel in np.random.default_rng(5).choice(cells.size, PIXELS, replace=False):
        _, near = tree.query(tree.data[pixel], CELLS)
        share = measure_share(raw, propagator[[pixel]], pixel, near)
        print(f"{cells.lat[pixel]:7.1f} N {cells.lon[pixel]:5.1f} E {share:14.3f}", flush=True)


def measure_share(raw: np.ndarray, row: np.ndarray, pixel: int, near: np.ndarray) -> float:
    """Return the share of the gain from persistence to the bound that the best ridge regression takes."""
    sums = np.cumsum(np.concatenate([np.zeros((1, CELLS)), raw[:, near]]), axis=0)
    filtered = (sums[WIDTH:] - sums[:-WIDTH]) / WIDTH
    target = filtered[HISTORY:, 0]
    inputs = np.lib.stride_tricks.sliding_window_view(filtered, HISTORY, axis=0)[: len(target)].reshape(len(target), -1)
    cut = int(0.8 * len(target))
    # Of the months of the target only the last is unknown to the propagator.
    last = np.arange(len(target))[cut:] + HISTORY + WIDTH - 1
    missed = (raw[last, pixel] - (row @ raw[last - 1].T)[0]) / WIDTH
    gram, cross = inputs[:cut].T @ inputs[:cut], inputs[:cut].T @ target[:cut]
    ridge = np.trace(gram) / len(gram) * np.eye(len(gram))
    errors = [inputs[cut:] @ np.linalg.solve(gram + p * ridge, cross) - target[cut:] for p in PENALTIES]
    persistence = filtered[HISTORY - 1 : -1, 0][cut:] - target[cut:]
    bound, first, *rest = (float(np.sqrt((error**2).mean())) for error in (missed, persistence, *errors))
    return (first - min(rest)) / (first - bound)


if __name__ == "__main__":
    main()
