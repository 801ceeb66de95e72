import json


def test_rank_puts_the_best_completion_of_each_prompt_first(textgym, jsonl):
    path = jsonl(
        [
            {"prompt": "p", "completion": "a a a a", "id": "dull"},
            {"prompt": "q", "completions": ["x x", "x y", "z z z"]},
            {"prompt": "p", "completion": "a b c d", "id": "rich"},
        ]
    )
    result = textgym("rank", "distinct(n=1)", "--input", path, "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["prompt"], row["rank"], row["id"], row["index"]) for row in rows] == [
        ("p", 1, "rich", 0),
        ("p", 2, "dull", 0),
        ("q", 1, 2, 1),
        ("q", 2, 2, 0),
        ("q", 3, 2, 2),
    ]
    assert rows[0]["completion"] == "a b c d" and rows[0]["score"] == 1.0


def test_completions_without_a_score_come_last_and_ties_as_they_came(textgym, jsonl, tmp_path):
    path = jsonl(
        [
            {"id": "none", "completion": "a"},
            {"id": "miss", "completion": "b", "references": ["a"]},
            {"id": "miss too", "completion": "c", "references": ["a"]},
            {"id": "hit", "completion": "a", "references": ["a"]},
        ]
    )
    assert textgym("rank", "exact_match - 1", "-i", path, "-o", tmp_path / "out.jsonl").exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["score"]) for row in rows] == [("hit", 0), ("miss", -1), ("miss too", -1), ("none", None)]


def test_the_table_shows_markup_literally_and_control_codes_as_signs(textgym, jsonl):
    path = jsonl([{"prompt": "[bold]p", "completion": "[red]danger[/red]\x1b[2J\nnext :smile:"}])
    shown = textgym("rank", "length", "-i", path).stdout
    assert "[bold]p" in shown and "[red]danger[/red]␛[2J↵next :smile:" in shown
    assert "\x1b" not in shown


def test_a_score_of_which_less_is_better_is_pointed_out(textgym, jsonl):
    path = jsonl([{"completion": "a a"}, {"completion": "a b"}])
    result = textgym("rank", "repetition(n=1)", "-i", path)
    assert "note: less of repetition(n=1) is better" in result.stderr
    assert result.stdout.index("a a") < result.stdout.index("a b"), "the highest score is first all the same"
