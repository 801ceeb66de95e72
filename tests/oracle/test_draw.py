"""The tree as a person sees it."""

import subprocess
import sys

import pytest

import textgym
from textgym.oracle import solve


def test_the_whole_of_a_small_tree():
    drawn = solve(textgym.micro("grammar", vocab_size=3, horizon=2)).draw()
    assert drawn == DRAWN


DRAWN = """\
micro-grammar · 3 actions, horizon 2 · gamma 1 · 3 prefixes, 7 texts
Q = what an action is worth, V = what the text so far is, * = the best path, . = the text ends

V +1.0000 *
├─ a      Q +1.0000  V +1.0000 *
│  ├─ b      Q +1.0000  . *
│  ├─ <eos>  Q +0.0000  .
│  └─ a      Q +0.0000  .
├─ <eos>  Q +0.0000  .
└─ b      Q +0.0000  V +0.0000
   ├─ <eos>  Q +0.0000  .
   ├─ a      Q +0.0000  .
   └─ b      Q +0.0000  ."""


@pytest.mark.parametrize("merge", [False, True])
def test_a_large_tree_shows_whole_levels_and_always_the_best_path(merge):
    solution = solve(textgym.micro("bigram", vocab_size=8, horizon=6), merge=merge)
    for lines in (12, 60):
        body = solution.draw(lines=lines).splitlines()[4:]
        assert len(body) <= lines
        path = [line for line in body if line.endswith("*")]
        assert len(path) == len(solution.optimal_completion)
    assert any(line.endswith("…") for line in body), "what is closed is marked"
    assert len(solution.draw(depth=3, lines=10_000).splitlines()) > 7 * 8
    shortened = solution.draw(depth=2, lines=20).splitlines()
    assert len(shortened) == 24 and "more lines: draw(lines=" in shortened[-1]


def test_the_oracle_loads_no_torch():
    code = (
        "import sys, textgym\n"
        "task = textgym.micro('bigram', vocab_size=3, horizon=4)\n"
        "solution = textgym.oracle.solve(task, beta=1.0, reference='bigram')\n"
        "solution.best_of_n(4), solution.draw(), solution.regret(textgym.oracle.uniform)\n"
        "textgym.oracle.keeps_optimum(textgym.micro('grammar', vocab_size=3, horizon=4), 'shaped')\n"
        "heavy = ('torch', 'transformers', 'sklearn', 'stable_baselines3', 'scipy', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stdout + done.stderr
