"""A prefix tree as text, for people."""

from collections.abc import Sequence

import numpy as np

from textgym.oracle.bellman import Values
from textgym.oracle.prefixes import PrefixTree


def drawn(
    tree: PrefixTree, values: Values, best: Sequence[int], gamma: float, *, depth: int | None = None, lines: int = 60
) -> str:
    """The tree of the first prompt: each action with its Q, the V it leads to, and a mark along the best path.

    Args:
        tree: the prefixes.
        values: V and Q.
        best: ids of the best text.
        gamma: the discount.
        depth: tokens of the longest prefix shown; None for as many as fit, at least the best path.
        lines: the most lines of the tree; what is left out is counted.
    """
    deepest = len(best) if depth is None else max(depth, 0)
    task = tree.episodes.task
    kind = "states" if tree.merged else "prefixes"
    head = [
        f"{task.name} · {int(tree.episodes.allowed.sum())} actions, horizon {task.max_new_tokens} · gamma {gamma:g} · "
        f"{len(tree):,} {kind}, {tree.texts:,} {'ends' if tree.merged else 'texts'}",
        "Q = what an action is worth, V = what the text so far is, * = the best path, . = the text ends",
        "",
        f"V {values.v[0]:+.4f} *",
    ]
    body = _Branches(tree, values, best, 0).of(0, "", 0, True)
    for shown in range(1, deepest + 1):  # whole levels; the best path is always there
        deeper = _Branches(tree, values, best, shown).of(0, "", 0, True)
        if len(deeper) > lines and depth is None:
            break
        body = deeper
    if len(body) > lines:
        body = [*body[: max(lines - 1, 1)], f"… {len(body) - max(lines - 1, 1):,} more lines: draw(lines={len(body)})"]
    return "\n".join([*head, *body])


class _Branches:
    """Lines below a prefix; prefixes of more than `depth` tokens stay closed, unless they are on the best path."""

    def __init__(self, tree: PrefixTree, values: Values, best: Sequence[int], depth: int) -> None:
        self._tree, self._values, self._best, self._depth = tree, values, best, depth
        tokenizer = tree.episodes.task.tokenizer
        self._tokens = [tokenizer.token(index) for index in range(tokenizer.vocab_size)]
        self._width = max(len(self._tokens[index]) for index in np.flatnonzero(tree.masks.any(axis=0)))

    def of(self, place: int, indent: str, length: int, on_path: bool) -> list[str]:
        """The actions at a prefix of that length, the best ones first."""
        if length >= self._depth and not on_path:
            return []
        q = self._values.q[place]
        actions = sorted(np.flatnonzero(self._tree.masks[place]).tolist(), key=lambda action: (-q[action], action))
        if on_path:  # of several best ones, the one that the path takes
            actions.sort(key=lambda action: action != self._best[length])
        if length >= self._depth:
            actions = actions[:1]
        lines = []
        for action in actions:
            last = action == actions[-1]
            marked = on_path and action == self._best[length]
            child = int(self._tree.children[place, action])
            lines.append(f"{indent}{'└─' if last else '├─'} {self._said(action, q[action], child, marked, length)}")
            if child >= 0:
                lines += self.of(child, indent + ("   " if last else "│  "), length + 1, marked)
        return lines

    def _said(self, action: int, q: float, child: int, marked: bool, length: int) -> str:
        token = self._tokens[action].ljust(self._width)
        worth = "." if child < 0 else f"V {self._values.v[child]:+.4f}"
        below = "" if child < 0 or marked or length + 1 < self._depth else " …"
        return f"{token}  Q {q:+.4f}  {worth}{' *' if marked else below}"
