"""Resampling of samples that depend on their neighbours in time."""

import numpy as np


def draw_blocks(samples: int, block: int, draws: int, seed: int) -> np.ndarray:
    """Draw positions of samples by the moving-block bootstrap.

    A draw is a series of runs of `block` consecutive samples, each run's start drawn uniformly from all that fit; the last
    run is cut to the number of samples. So what a statistic owes to the dependence within a block is kept.

    Parameters
    ----------
    samples
        Number of samples, in the order of time.
    block
        Consecutive samples of a run, 1 to `samples`.
    draws
        Number of draws.
    seed
        Seed of the random generator.

    Returns
    -------
    numpy.ndarray
        Positions from 0, int64 of shape (draws, samples).

    Raises
    ------
    ValueError
        If the block has no sample or more than there are.

    References
    ----------
    Künsch, H. R. (1989). The jackknife and the bootstrap for general stationary observations. Annals of Statistics 17,
    1217-1241.
    """
    if not 1 <= block <= samples:
        raise ValueError(f"block = {block} must lie between 1 and the {samples} samples")
    starts = np.random.default_rng(seed).integers(samples - block + 1, size=(draws, -(-samples // block)))
    return (starts[..., None] + np.arange(block)).reshape(draws, -1)[:, :samples]
