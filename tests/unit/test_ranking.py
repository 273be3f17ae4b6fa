"""The posterior: what a vote does to it, and what it says."""

from __future__ import annotations

import numpy as np
import pytest

from persona_tui.services.voting import choosing, ranking
from persona_tui.services.voting.ranking import Posterior


def test_the_chosen_one_rises_and_the_other_falls_alike() -> None:
    after = ranking.update(Posterior.prior(3), (0, 1), 0)
    assert after.mean[0] > 0 > after.mean[1]
    assert after.mean[0] == pytest.approx(-after.mean[1], abs=0.02)
    assert after.mean[2] == 0
    assert after.covariance[0, 0] < 4 and after.covariance[2, 2] == pytest.approx(4)


def test_one_vote_of_four_is_no_three_wins() -> None:
    four = ranking.update(Posterior.prior(4), (0, 1, 2, 3), 0)
    assert 0 < four.mean[0] < 4
    assert four.mean[1] == pytest.approx(four.mean[2], abs=0.15)


def test_not_sure_pulls_the_shown_together() -> None:
    apart = ranking.update(ranking.update(Posterior.prior(2), (0, 1), 0), (0, 1), 0)
    after = ranking.update(apart, (0, 1), None)
    assert abs(after.mean[0] - after.mean[1]) < abs(apart.mean[0] - apart.mean[1])


def test_new_members_keep_what_is_known() -> None:
    known = ranking.update(Posterior.prior(2), (0, 1), 1)
    grown = known.extended(4)
    assert np.array_equal(grown.mean[:2], known.mean)
    assert np.array_equal(grown.covariance[2:, 2:], np.eye(2) * 4)


def test_the_best_is_found_far_more_often_than_by_chance() -> None:
    found = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        truth = rng.normal(0, 2, 12)
        belief, active = Posterior.prior(12), tuple(range(12))
        for _ in range(30):
            pair = choosing.choose(belief, active, rng)
            wins = rng.random() < 1 / (1 + np.exp(truth[pair[1]] - truth[pair[0]]))
            belief = ranking.update(belief, pair, pair[0] if wins else pair[1])
        found += int(belief.mean.argmax() == truth.argmax())
    assert found >= 15


def test_a_duel_shows_two_different_active_members() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        left, right = choosing.choose(Posterior.prior(6), (1, 4, 5), rng)
        assert left != right and {left, right} <= {1, 4, 5}
    with pytest.raises(ValueError):
        choosing.choose(Posterior.prior(6), (1,), rng)
