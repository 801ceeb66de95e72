"""What check_reward says, on stories, on other texts, and on rewards that hardly work at all."""

import numpy as np
import pytest

from textgym.audit import arena_of_rollouts, arena_of_task, check_reward
from textgym.audit.balance import shares
from textgym.audit.taste import Contest, contest
from textgym.envs.tasks import make_task
from textgym.errors import CorpusError, ScorerError
from textgym.text.rollouts import Rollout

CHINESE = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"


def rollouts(texts, reward=None):
    return [Rollout("say it", text, reward=reward, group=str(i // 2)) for i, text in enumerate(texts)]


def statuses(report, check):
    return [finding.status for finding in report.found(check)]


def test_a_reward_that_never_applies_is_said_to_do_so_and_nothing_else_is_asked():
    report = check_reward(arena_of_rollouts(lambda text: None, rollouts(["a b", "b a", "c"])))
    assert [(finding.check, finding.status) for finding in report.findings] == [("works", "FAIL")]
    assert not report.passed


def test_a_reward_that_raises_on_good_texts_fails_with_its_own_words():
    def broken(text: str) -> float:
        raise KeyError("no such field")

    report = check_reward(arena_of_rollouts(broken, rollouts(["a b", "b a"])))
    assert "no such field" in report.failures[0].message


def test_recorded_rewards_that_come_out_otherwise_are_noticed():
    rows = [Rollout("p", text, reward=float(len(text))) for text in ("a b c", "a b", "b c a d")]
    same = check_reward(arena_of_rollouts(lambda text: float(len(text)), rows), exploit=False)
    other = check_reward(arena_of_rollouts(lambda text: len(text) + 1.0, rows), exploit=False)
    assert statuses(same, "recorded") == ["ok"]
    assert statuses(other, "recorded") == ["warn"]
    assert "100% of 3" in other.found("recorded")[0].message


def test_chinese_texts_are_shuffled_by_characters():
    arena = arena_of_rollouts(lambda text: float(CHINESE.startswith(text[:4])), rollouts([CHINESE] * 12))
    report = check_reward(arena, exploit=False)
    assert statuses(report, "sign")[1] == "ok"


def test_empty_rollouts_are_refused():
    with pytest.raises(CorpusError, match="every completion is empty"):
        arena_of_rollouts(lambda text: 1.0, rollouts(["", " "]))


def test_a_reward_that_needs_a_task_says_so_without_one():
    with pytest.raises(ScorerError, match="--task"):
        arena_of_rollouts("fluency", rollouts(["a b"]))


def test_a_task_lends_rollouts_its_models():
    report = check_reward(
        arena_of_rollouts("fluency", rollouts([" ann was in the mill .", " the end ."]), make_task("story").context),
        exploit=False,
    )
    assert statuses(report, "deterministic") == ["ok"]


def test_variance_shares_sum_to_one_and_follow_the_weights():
    arena = arena_of_task("3*fluency - 2*repetition + distinct", make_task("story"), good=32)
    found = shares(arena)
    assert [share.text for share in found] == ["3*fluency", "-2*repetition", "distinct"]
    assert sum(share.variance for share in found) == pytest.approx(1.0)


def test_a_term_decides_the_rankings_that_turn_without_it():
    rows = [Rollout("p", text) for text in ("a", "b c", "d e f")]
    arena = arena_of_rollouts("length - 0.5*length", rows)
    assert [share.decides for share in shares(arena)] == [1.0, 0.0]


def test_a_contest_counts_pairs_by_hand():
    found = contest(np.array([1.0, 2.0, 3.0, np.nan]), np.array([0.0, 2.0, 4.0, 1.0]))
    assert (found.wins, found.losses, found.ties) == (1, 1, 1)
    assert found.share == 0.5
    assert (found.verdict, Contest(9, 0, 0).verdict, Contest(0, 9, 0).verdict, Contest(3, 0, 0).verdict) == (
        0,
        1,
        -1,
        0,
    )


def test_the_report_is_json():
    import json

    report = check_reward(arena_of_task("fluency", make_task("story"), good=16))
    row = json.loads(json.dumps(report.to_row(), allow_nan=False))
    assert row["reward"] == "fluency"
    assert row["exploit"]["score"] > row["exploit"]["good"]


def test_references_that_the_budget_cuts_are_left_out(tmp_path):
    import json

    count = [(n, start) for n in range(3, 60) for start in range(12)]
    rows = [{"prompt": f"{n} from {m}", "references": [" ".join(map(str, range(m, m + n)))]} for n, m in count]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = make_task(prompts=tmp_path / "prompts.jsonl", max_new_tokens=40, tokenizer="word", cache_dir=tmp_path)
    arena = arena_of_task("exact_match", task)
    assert (arena.liked == 1).all()
