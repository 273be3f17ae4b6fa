"""The posterior: what a vote does to it, and what it says."""

from __future__ import annotations

import numpy as np
import pytest

from persona_tui.services.voting import choosing, outlook, ranking
from persona_tui.services.voting.ranking import Posterior


def test_the_chosen_one_rises_and_the_other_falls_alike() -> None:
    after = ranking.update(Posterior.prior(3), (0, 1), 0)
    assert after.mean[0] > 0 > after.mean[1]
    assert after.mean[0] == pytest.approx(-after.mean[1], abs=0.02)
    assert after.mean[2] == 0
    assert after.covariance[0, 0] < 4 and after.covariance[2, 2] == pytest.approx(4)


@pytest.mark.parametrize("chosen", [0, 1, None])
def test_a_duel_leaves_the_moments_of_the_true_posterior(chosen: int | None) -> None:
    before = Posterior(np.array([0.8, -0.3]), np.array([[3.0, 0.7], [0.7, 2.0]]))
    after = ranking.update(before, (0, 1), chosen)
    axes = [mean + np.sqrt(variance) * np.linspace(-9, 9, 601)
            for mean, variance in zip(before.mean, np.diag(before.covariance), strict=True)]  # fmt: skip
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    off = points - before.mean
    wins = 1 / (1 + np.exp(points[:, 1] - points[:, 0]))
    told = {0: wins, 1: 1 - wins, None: wins * (1 - wins)}[chosen]
    weights = told * np.exp(-0.5 * np.einsum("ni,ij,nj->n", off, np.linalg.inv(before.covariance), off))
    weights /= weights.sum()
    assert after.mean == pytest.approx(weights @ points, abs=1e-4)
    assert after.covariance == pytest.approx(np.cov(points.T, aweights=weights, ddof=0), abs=1e-4)


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


@pytest.mark.parametrize(("count", "k"), [(2, 1), (3, 1), (4, 1), (2, 3), (4, 3)])
def test_every_way_of_choosing_shows_different_active_members(count: int, k: int) -> None:
    rng, active = np.random.default_rng(count + k), (0, 2, 3, 5, 6, 7, 9)
    belief = Posterior.prior(10)
    for turn in range(40):
        beside = active[turn % 7] if turn % 2 else None
        shown = choosing.choose(belief, active, rng, count=count, k=k, beside=beside)
        assert len(set(shown)) == count and set(shown) <= set(active)
        assert beside is None or beside in shown
        belief = ranking.update(belief, shown, shown[0])


def test_a_duel_for_the_top_lies_across_the_bar_and_does_not_come_again_at_once() -> None:
    rng, belief, lately = np.random.default_rng(2), Posterior.prior(12), list[tuple[int, ...]]()
    for turn in range(40):
        above = set(np.argsort(-belief.mean, kind="stable")[:3].tolist())
        pair = choosing.choose(belief, range(12), rng, k=3, lately=lately)
        assert len(above & set(pair)) == 1
        assert set(pair) not in [set(shown) for shown in lately[-6:]]
        belief = ranking.update(belief, pair, None if turn % 2 else min(pair))
        lately.append(pair)


def test_a_grid_begins_with_the_unseen_and_a_small_contest_shows_all() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        assert {1, 4, 6} <= set(choosing.choose(Posterior.prior(9), range(9), rng, count=4, unseen={1, 4, 6}))
    assert sorted(choosing.choose(Posterior.prior(3), range(3), rng, count=4)) == [0, 1, 2]


@pytest.mark.long
def test_the_top_of_five_is_found_better_by_asking_for_it() -> None:
    def recall(k: int) -> float:
        found = 0
        for seed in range(25):
            rng = np.random.default_rng(seed)
            truth, belief, active = rng.normal(0, 2, 20), Posterior.prior(20), tuple(range(20))
            for _ in range(60):
                shown = choosing.choose(belief, active, rng, k=k)
                seen = truth[list(shown)] + rng.gumbel(size=2)
                belief = ranking.update(belief, shown, shown[int(seen.argmax())])
            found += len(set(np.argsort(-belief.mean)[:5].tolist()) & set(np.argsort(-truth)[:5].tolist()))
        return found / 125

    assert recall(5) > recall(1) and recall(5) > 0.75


def test_old_ratings_lift_by_what_they_are_worth_and_votes_learn_that() -> None:
    ratings: list[int | None] = [900, 1000, 1100, 1200, None]
    before = Posterior.prior_from(ratings)
    assert before.mean[:4].tolist() == sorted(before.mean[:4].tolist()) and before.mean[4] == 0
    assert before.covariance[4, 4] == 4 and before.covariance[0, 3] < 0
    agreeing = ranking.update(before, (3, 0), 3)
    contrary = ranking.update(before, (3, 0), 0)
    assert agreeing.mean[2] > before.mean[2] > contrary.mean[2]
    assert np.array_equal(Posterior.prior_from([1000, 1000, None]).covariance, np.eye(3) * 4)


def test_an_outlook_says_what_is_known() -> None:
    rng = np.random.default_rng(1)
    apart = Posterior(np.array([9.0, 6.0, 0.0, -3.0]), np.eye(4) * 0.01)
    clear = outlook.look(apart, range(4), 2, rng)
    assert clear.best == 1 and clear.top_k == 1 and clear.regret == 0 and clear.sure(1) and clear.sure(2)
    nothing = outlook.look(Posterior.prior(4), range(4), 2, rng)
    assert nothing.best == pytest.approx(0.25, abs=0.05) and nothing.top_k == pytest.approx(1 / 6, abs=0.05)
    assert nothing.regret == pytest.approx(2 * 1.03, abs=0.15) and not nothing.sure(1)
    alike = outlook.Outlook(np.array([0.5, 0.5]), 0.5, 0.5, 0.05)
    assert alike.sure(1) and not alike.sure(2)
