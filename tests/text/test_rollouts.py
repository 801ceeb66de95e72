"""Rollouts as TRL, verl, OpenRLHF and we ourselves write them down."""

import json
import math
import sys

import pytest

from textgym.errors import CorpusError, MissingExtraError
from textgym.text.messages import text_of
from textgym.text.rollouts import read_rollouts


@pytest.fixture
def written(tmp_path):
    def write(*rows, name="rollouts.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


def test_our_own_rows_keep_reward_components_step_and_phase(written):
    row = {
        "prompt": "p",
        "completion": " c",
        "references": ["r"],
        "reward": 1.5,
        "components": {"length": 3, "x": None},
    }
    (rollout,) = read_rollouts(
        written({**row, "step": 7, "phase": "after", "seed": 4, "metadata": {"concepts": ["a"]}})
    )
    assert (rollout.prompt, rollout.completion, rollout.references) == ("p", " c", ("r",))
    assert (rollout.reward, rollout.step, rollout.phase, rollout.group, rollout.line) == (1.5, 7, "after", "p", 1)
    assert rollout.rewards["length"] == 3
    assert math.isnan(rollout.rewards["x"])
    assert rollout.metadata == {"seed": 4, "concepts": ["a"]}


def test_trl_completions_earn_the_sum_of_their_reward_columns(written):
    row = {"step": 10, "prompt": "p", "completion": "c", "accuracy": 1.0, "brevity": -0.25, "advantage": 0.7}
    whole, partial, none = read_rollouts(
        written(row, {**row, "accuracy": None}, {**row, "accuracy": float("nan"), "brevity": float("nan")})
    )
    assert (whole.reward, whole.rewards) == (0.75, {"accuracy": 1.0, "brevity": -0.25})
    assert (partial.reward, partial.step) == (-0.25, 10)
    assert none.reward is None


def test_verl_dumps_hold_ground_truth_and_parts_of_the_score(written):
    row = {"input": "user\n1+1", "output": "2", "gts": 2, "score": 1.0, "step": 3, "acc": True, "request_id": "ab"}
    (rollout,) = read_rollouts(written(row))
    assert (rollout.prompt, rollout.completion, rollout.references) == ("user\n1+1", "2", ("2",))
    assert (rollout.reward, rollout.rewards, rollout.step) == (1.0, {"acc": 1.0}, 3)
    assert rollout.metadata["ground_truth"] == 2
    assert rollout.metadata["request_id"] == "ab"


def test_openrlhf_rows_have_a_reward_and_no_parts(written):
    (rollout,) = read_rollouts(written({"input": "q", "output": "a", "reward": -0.5, "question": 2}))
    assert (rollout.prompt, rollout.completion, rollout.reward, rollout.rewards) == ("q", "a", -0.5, {})
    assert rollout.metadata == {"question": 2}


def test_a_sample_of_a_run_is_two_rollouts(written):
    scores = {"reward": 1, "reward/length": 2, "kl": 0}
    row = {"prompt": "p", "before": "b", "after": "a", "before_scores": scores, "after_scores": {**scores, "reward": 3}}
    before, after = read_rollouts(written(row))
    assert (before.completion, before.phase, before.reward, before.rewards) == ("b", "before", 1, {"length": 2})
    assert (after.completion, after.phase, after.reward) == ("a", "after", 3)


def test_several_completions_of_a_row_share_its_group(written):
    rows = [{"prompt": "p", "completions": ["a", "b"]}, {"prompt": "p", "completion": "c", "group_id": 5}]
    assert [(r.completion, r.group, r.reward) for r in read_rollouts(written(*rows))] == [
        ("a", "p", None),
        ("b", "p", None),
        ("c", "5", None),
    ]


def test_conversations_are_read_as_their_text(written):
    chat = [{"role": "user", "content": "hi"}]
    answer = [{"role": "assistant", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]
    (rollout,) = read_rollouts(written({"prompt": chat, "completion": answer}))
    assert (rollout.prompt, rollout.completion) == ("hi", "hello")
    assert text_of([*chat, {"role": "assistant", "content": None, "tool_calls": []}, *answer]) == "hi\nhello"


def test_a_folder_is_read_in_the_order_of_its_steps(written):
    for step in (10, 9, 100):
        written({"input": "q", "output": str(step), "score": 0}, name=f"dump/{step}.jsonl")
    folder = written({"input": "q", "output": "1", "score": 0}, name="dump/1.jsonl").parent
    (folder / "notes.txt").write_text("not a rollout")
    assert [rollout.completion for rollout in read_rollouts(folder)] == ["1", "9", "10", "100"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2: it is no JSON"),
        ("[]", "line 2: an object is expected, not list"),
        ({"prompt": "p"}, "line 2: it has no 'completion' or 'output' or 'response'; its fields are 'prompt'"),
        ({"completion": 3}, "line 2: 'completion': text is expected"),
        ({"completion": "a", "reward": "high"}, "line 2: 'reward' must be a number, not 'high'"),
        ({"completion": "a", "components": 3}, "line 2: 'components' must be an object"),
        ({"completion": "a", "step": "two"}, "line 2: 'step' must be a whole number"),
        ({"completion": "a", "metadata": 3}, "line 2: 'metadata' must be an object"),
        ({"completions": "a"}, "line 2: 'completions' must be a list"),
    ],
)
def test_a_row_that_is_no_rollout_is_named_by_its_line(written, row, message):
    path = written({"completion": "fine"}, row)
    with pytest.raises(CorpusError, match=message):
        list(read_rollouts(path))


def test_nothing_to_read_is_an_error(written, tmp_path):
    with pytest.raises(CorpusError, match="is empty"):
        list(read_rollouts(written()))
    with pytest.raises(CorpusError, match=r"Did you mean 'rollouts\.jsonl'"):
        list(read_rollouts(tmp_path / "rollout.jsonl"))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(CorpusError, match="holds no rollouts"):
        list(read_rollouts(tmp_path / "nothing"))


def test_parquet_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"a\.parquet, a Parquet file, needs pyarrow"):
        list(read_rollouts(tmp_path / "a.parquet"))


def test_parquet_rows_are_rollouts(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"step": 1, "prompt": "p", "completion": "c", "length": 2.0, "advantage": 0.1}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "completions_00001.parquet")
    (rollout,) = read_rollouts(tmp_path)
    assert (rollout.reward, rollout.step) == (2.0, 1)
