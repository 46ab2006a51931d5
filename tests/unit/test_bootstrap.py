import numpy as np
import pytest

from sealiency.claims.bootstrap import draw_blocks


def test_draws_are_runs_of_consecutive_samples_and_the_last_is_cut():
    drawn = draw_blocks(samples=11, block=4, draws=300, seed=1)
    assert drawn.shape == (300, 11)
    for run in np.split(drawn, [4, 8], axis=1):
        assert (np.diff(run, axis=1) == 1).all()
    assert drawn.min() == 0
    assert drawn.max() == 10
    # Runs are drawn independently, so most do not follow on.
    assert (drawn[:, 4] != drawn[:, 3] + 1).mean() > 0.7


def test_every_start_is_as_likely_as_any_other():
    starts = draw_blocks(samples=12, block=3, draws=6000, seed=0)[:, ::3]
    share = np.bincount(starts.ravel(), minlength=12) / starts.size
    np.testing.assert_allclose(share[:10], 0.1, atol=0.01)
    assert not share[10:].any()


def test_a_block_of_all_samples_is_the_samples():
    np.testing.assert_array_equal(draw_blocks(5, 5, 3, 0), np.tile(np.arange(5), (3, 1)))


def test_the_seed_decides():
    first, second, other = (draw_blocks(30, 5, 20, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("block", [0, 8])
def test_a_block_that_does_not_fit_is_refused(block):
    with pytest.raises(ValueError, match=f"block = {block} must lie between 1 and the 7 samples"):
        draw_blocks(7, block, 1, 0)


def test_blocks_cover_the_mean_of_dependent_samples_and_single_samples_do_not():
    rng = np.random.default_rng(0)
    series = np.zeros((150, 600))
    series[:, 0] = rng.normal(size=150) / np.sqrt(1 - 0.8**2)
    for month in range(1, 600):
        series[:, month] = 0.8 * series[:, month - 1] + rng.normal(size=150)

    def cover(block: int) -> float:
        means = series[:, draw_blocks(600, block, 200, 0)].mean(-1)
        low, high = np.percentile(means, [2.5, 97.5], axis=1)
        return float(((low < 0) & (high > 0)).mean())

    assert cover(30) > 0.8
    assert cover(1) < 0.6
