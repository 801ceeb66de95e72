"""Saved texts under another reward: rankings, progress, risers and fallers, by hand and by the library's numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr, ttest_ind, ttest_rel

from textgym.errors import CheckpointError, CorpusError, ScoringFailure
from textgym.interop.portable_reward import portable
from textgym.runs.episodes import saved_episodes
from textgym.runs.rescore import rescore
from textgym.text.rollouts import Rollout

LENGTH = portable("length")


def texts(rows):
    """(group, words, recorded reward, phase or step)."""
    return [
        Rollout(
            group,
            "w " * (words - 1) + "w",
            reward=reward,
            group=group,
            line=line,
            phase=when if isinstance(when, str) else "",
            step=None if isinstance(when, str) else when,
        )
        for line, (group, words, reward, when) in enumerate(rows, start=1)
    ]


def test_rankings_are_compared_over_all_texts_and_within_prompts():
    found = rescore(
        texts([("a", 1, 1.0, ""), ("a", 2, 2.0, ""), ("a", 3, 3.0, ""), ("b", 9, 0.3, ""), ("b", 8, 0.4, "")]), LENGTH
    )
    old, new = [1, 2, 3, 0.3, 0.4], [1, 2, 3, 9, 8]
    assert found.agreement.texts == 5
    assert found.agreement.spearman == pytest.approx(spearmanr(old, new).statistic)
    assert found.agreement.kendall == pytest.approx(kendalltau(old, new).statistic)
    assert found.agreement.prompts == 2
    assert found.agreement.spearman_within == pytest.approx((1 - 1) / 2)
    assert found.agreement.kendall_within == pytest.approx((1 - 1) / 2)
    assert found.agreement.best_changes == 0.5


def test_ties_are_no_opinion_and_no_change_of_the_best():
    found = rescore(texts([("a", 1, 5.0, ""), ("a", 2, 5.0, ""), ("b", 3, 1.0, ""), ("c", 4, 2.0, "")]), LENGTH)
    assert found.agreement.prompts == 0
    assert found.agreement.spearman_within is None
    assert found.agreement.best_changes == 0.0
    same = rescore(texts([("a", 2, 5.0, ""), ("b", 2, 4.0, "")]), LENGTH)
    assert same.agreement.spearman is same.agreement.kendall is same.agreement.best_changes is None


def test_the_same_reward_changes_nothing():
    found = rescore(texts([("a", n, float(n), "") for n in (3, 1, 2)]), LENGTH)
    assert (found.agreement.spearman, found.agreement.kendall) == (pytest.approx(1), pytest.approx(1))
    assert found.agreement.best_changes == 0.0
    assert found.moved() == ([], [])


def test_progress_of_a_run_is_of_pairs():
    words, later = [3, 5, 4, 9], [4, 7, 4, 12]
    rows = [(f"p{i}", n, 1.0 - i, "before") for i, n in enumerate(words)]
    rows += [(f"p{i}", n, 1.0 - i, "after") for i, n in enumerate(later)]
    found = rescore(texts(rows), LENGTH)
    assert found.paired
    progress = found.progress(found.new)
    interval = ttest_rel(later, words).confidence_interval()
    assert (progress.before, progress.after) == (np.mean(words), np.mean(later))
    assert progress.change == pytest.approx((1.5, interval.low, interval.high))
    assert progress.verdict == "no certain change"
    assert found.progress(found.old).change == (0, 0, 0)


def test_progress_of_a_dump_is_of_its_first_and_last_steps():
    rows = [("p", 10 * step + n, float(step), step) for step in range(10) for n in range(1, 4)]
    found = rescore(texts(rows), LENGTH)
    begin = [10 * step + n for step in (0, 1) for n in range(1, 4)]
    end = [10 * step + n for step in (8, 9) for n in range(1, 4)]
    progress = found.progress(found.new)
    assert progress.before == np.mean(begin)
    interval = ttest_ind(end, begin, equal_var=False).confidence_interval()
    assert progress.change[1:] == pytest.approx((interval.low, interval.high)) or found.paired
    assert progress.verdict == "progress"


def test_texts_that_move_farthest_are_named():
    rows = [("p", n, float(n), "") for n in range(1, 31)]
    rows[0] = ("p", 1, 99.0, "")  # the shortest was the best
    found = rescore(texts(rows), LENGTH)
    risers, fallers = found.moved()
    assert fallers == [0]
    assert len(risers) == 10
    told = found.to_dict()
    assert (told["fall"][0]["old"], told["fall"][0]["new"], told["fall"][0]["line"]) == (99.0, 1.0, 1)


def test_what_was_not_recorded_or_is_not_applicable_is_left_out():
    rollouts = texts([("a", 1, None, ""), ("a", 2, 2.0, ""), ("b", 3, 1.0, "")])
    told = rescore(rollouts, LENGTH).to_dict()
    assert (told["texts"], told["recorded"], told["applicable"]) == (3, 2, 3)
    assert told["agreement"]["texts"] == 2
    assert told["progress"] == {"old": None, "new": None}
    none = rescore(rollouts, portable("rouge")).to_dict()
    assert (none["applicable"], none["agreement"], none["mean"]["new"]) == (0, None, None)
    assert none["components"]["rouge"]["mean"] is None
    json.dumps(none, allow_nan=False)


def test_a_failure_names_the_line(tmp_path):
    (tmp_path / "mine.py").write_text("def score(text):\n    return 1 / (len(text) - 5)\n")
    with pytest.raises(ScoringFailure, match=r", line 3: .*ZeroDivisionError"):
        rescore(texts([("a", n, 1.0, "") for n in (1, 2, 3, 4)]), portable(f"{tmp_path}/mine.py:score"))
    with pytest.raises(CorpusError, match="no texts"):
        rescore([], LENGTH)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.floats(-9, 9)), min_size=1, max_size=20))
def test_shares_and_correlations_stay_within_their_ranges(rows):
    found = rescore(texts([(group, words, reward, "") for group, words, reward in rows]), LENGTH)
    agreement = found.agreement
    for value in (agreement.spearman, agreement.kendall, agreement.spearman_within, agreement.kendall_within):
        assert value is None or -1 - 1e-9 <= value <= 1 + 1e-9
    assert agreement.best_changes is None or 0 <= agreement.best_changes <= 1
    risers, fallers = found.moved()
    assert not {*risers} & {*fallers}
    assert all(math.isfinite(found.old[row]) for row in (*risers, *fallers))


# -- folders of runs


def test_a_folder_of_a_trainer_is_its_own_rollouts(tmp_path):
    assert saved_episodes(tmp_path).path == tmp_path
    (tmp_path / "a.jsonl").write_text("")
    assert saved_episodes(tmp_path / "a.jsonl").path == tmp_path / "a.jsonl"
    with pytest.raises(CorpusError, match=r"no such file or folder: .*b\.jsonl\. Did you mean 'a\.jsonl'"):
        saved_episodes(tmp_path / "b.jsonl")


def test_a_run_without_episodes_is_said(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(CorpusError, match="is not finished"):
        saved_episodes(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(CorpusError, match="has no episodes"):
        saved_episodes(tmp_path)
    (tmp_path / "samples.jsonl").write_text("")
    with pytest.raises(CheckpointError, match="is damaged"):
        saved_episodes(tmp_path)
