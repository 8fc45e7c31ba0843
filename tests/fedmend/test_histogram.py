"""AUROC from bins against scikit-learn's from the scores themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import roc_auc_score

from fedmend import histogram

Scores = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]


def drawn(
    seed: int, middle: float, spread: float, apart: float, *, count: int = 2000
) -> tuple[Scores, Truth]:
    """Return scores of which 30 % are positive and lie ``apart`` higher, in normal spreads."""
    generator = np.random.default_rng(seed)
    positive = generator.random(count) < 0.3
    return middle + spread * generator.standard_normal(count) + apart * positive, positive


def error(scores: Scores, positive: Truth) -> float:
    found = histogram.auroc(histogram.counts(scores, positive))
    assert found is not None
    return abs(found - float(roc_auc_score(positive, scores)))


@pytest.mark.parametrize(
    ("middle", "spread", "apart", "bound"),
    [
        pytest.param(0, 2, 2, 1.5e-4, id="as a trained classifier's"),
        pytest.param(0, 5, 5, 1e-4, id="confident"),
        pytest.param(0, 30, 10, 1e-4, id="very spread"),
        pytest.param(-3, 2, 3, 1.5e-4, id="a rare class"),
        pytest.param(-6, 1, 1, 8e-4, id="a very rare class"),
        pytest.param(0, 0.1, 0.1, 2e-3, id="hardly trained"),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_error_against_scikit_learn(
    seed: int, middle: float, spread: float, apart: float, bound: float
) -> None:
    assert error(*drawn(seed, middle, spread, apart)) < bound


@given(
    arrays.arrays(
        np.float64, st.integers(2, 40), elements=st.floats(-1e300, 1e300, allow_nan=False)
    ),
    st.integers(0, 2**40 - 1),
)
def test_error_is_at_most_half_the_pairs_that_share_a_bin(scores: Scores, bits: int) -> None:
    """What binning costs is known from the histogram alone, for any scores whatever."""
    positive = np.array([bool(bits >> place & 1) for place in range(len(scores))])
    counted = histogram.counts(scores, positive)
    found = histogram.auroc(counted)
    if positive.all() or not positive.any():
        assert found is None
        return
    negatives, positives = np.split(counted, 2)
    shared = float((negatives * positives).sum() / (negatives.sum() * positives.sum()))
    assert found is not None
    assert abs(found - float(roc_auc_score(positive, scores))) <= shared / 2 + 1e-12


def test_scores_in_one_bin_say_nothing() -> None:
    same = histogram.counts(np.full(10, 0.3), np.arange(10) < 5)
    assert histogram.auroc(same) == 0.5


def test_order_decides() -> None:
    scores, positive = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True])
    assert histogram.auroc(histogram.counts(scores, positive)) == 1.0
    assert histogram.auroc(histogram.counts(-scores, positive)) == 0.0
    assert histogram.auroc(histogram.counts(scores, np.array([0, 1, 0, 1], dtype=bool))) == 0.75


def test_nothing_to_compare_is_unknown() -> None:
    empty = histogram.counts(np.empty(0), np.empty(0, dtype=bool))
    assert empty.shape == (2 * histogram.BINS,)
    assert empty.dtype == np.float64
    assert histogram.auroc(empty) is None
    assert histogram.auroc(histogram.counts(np.arange(3.0), np.ones(3, dtype=bool))) is None


def test_infinite_scores_lie_at_the_ends() -> None:
    scores = np.array([-np.inf, 0.0, np.inf])
    assert histogram.auroc(histogram.counts(scores, np.array([False, False, True]))) == 1.0


def test_counts_add_up_across_sites() -> None:
    scores, positive = drawn(0, 0, 2, 1, count=300)
    parts = sum(
        histogram.counts(scores[start:end], positive[start:end])
        for start, end in ((0, 7), (7, 7), (7, 300))
    )
    np.testing.assert_array_equal(parts, histogram.counts(scores, positive))
    assert isinstance(parts, np.ndarray)
    assert parts.sum() == 300
