"""`textgym solve`: the exact answers of a micro world."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgym.cli import options
from textgym.cli.options import OUTPUT
from textgym.cli.terminal import print_json, speak, stdout, visible

if TYPE_CHECKING:
    from textgym.oracle import Solution

WORLD, PROBLEM = "World", "Problem"


def solve(
    world: Annotated[
        str, typer.Option(help="bigram, grammar, key-token, gold-proxy or random.", rich_help_panel=WORLD)
    ] = "bigram",
    vocab_size: Annotated[
        int, typer.Option(help="Actions at every step: words and EOS, 3 to 20.", rich_help_panel=WORLD)
    ] = 8,
    horizon: Annotated[int, typer.Option(help="Tokens of the longest text, at most 12.", rich_help_panel=WORLD)] = 6,
    seed: Annotated[int, typer.Option(help="Which numbers the world pays.", rich_help_panel=WORLD)] = 0,
    reward: Annotated[
        str | None,
        typer.Option(help="Reward expression.", metavar="SPEC", show_default="the world's", rich_help_panel=PROBLEM),
    ] = None,
    gamma: Annotated[float, typer.Option(help="Discount.", rich_help_panel=PROBLEM)] = 1.0,
    beta: Annotated[
        float, typer.Option(help="Price of a nat of KL from the reference.", rich_help_panel=PROBLEM)
    ] = 1.0,
    reference: Annotated[
        str,
        typer.Option(help="uniform, bigram (the world's language), or ngram:N fitted to it.", rich_help_panel=PROBLEM),
    ] = "uniform",
    n: Annotated[
        int | None,
        typer.Option("--n", "-n", help="Also the best of n texts of the reference.", rich_help_panel=PROBLEM),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Enumerate states of the reward, not texts.", rich_help_panel=PROBLEM)
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(help="Most states and texts.", show_default="2,000,000", rich_help_panel=PROBLEM),
    ] = None,
    draw: Annotated[
        bool, typer.Option("--draw", help="Show the prefix tree with V, Q and the best path.", rich_help_panel=OUTPUT)
    ] = False,
    json: options.Json = False,
) -> None:
    """Solve a micro world exactly: the best text, the best policies, and what best-of-n does.

    With --json one object: value, uniform_value, reward_threshold, optimal_completion (ids), optimal_tokens, states,
    texts; soft_value, expected_reward and kl of the soft-optimal policy; gold; best_of_n.
    """
    from textgym.envs.micro import micro
    from textgym.oracle import LIMIT
    from textgym.oracle import solve as solve_exactly

    if draw and json:
        raise typer.BadParameter("--draw is for people and --json for programs: give one of them")
    speak(quiet=True)
    task = micro(world, vocab_size=vocab_size, horizon=horizon, seed=seed)
    solution = solve_exactly(task, gamma, beta, reference, reward=reward, merge=merge, limit=limit or LIMIT)
    found = {
        "world": world,
        "vocab_size": vocab_size,
        "horizon": horizon,
        "seed": seed,
        "reference": reference,
        **_answers(solution, n),
    }
    if json:
        print_json(found, indent=2)
        return
    _print(found)
    if draw:
        stdout().print()
        stdout().print(visible(solution.draw(), keep="\n"), markup=False, soft_wrap=True)


def _answers(solution: "Solution", n: int | None) -> dict[str, Any]:
    """What was found, as JSON values."""
    from textgym.worlds.micro import Optimum

    episodes = solution.tree.episodes
    assert solution.soft is not None
    best = list(solution.optimal_completion)
    law = None if n is None else solution.best_of_n(n, solution.reference_policy)
    return {
        "reward": episodes.reward.text,
        "gamma": solution.gamma,
        "beta": solution.soft.beta,
        "states": solution.states,
        "texts": solution.texts,
        "value": solution.value,
        "uniform_value": solution.uniform_value,
        "reward_threshold": Optimum(solution.value, solution.uniform_value).threshold,
        "optimal_completion": best,
        "optimal_tokens": [episodes.task.tokenizer.token(token) for token in best],
        "gold": _truth(solution),
        "soft_value": solution.soft.value,
        "expected_reward": solution.soft.expected_reward,
        "kl": solution.soft.kl,
        "best_of_n": law and {"n": law.n, "expected_reward": law.expected_reward, "kl": law.kl, "kl_bound": law.bound},
    }


def _truth(solution: "Solution") -> dict[str, float]:
    """What the best text is truly worth, where the world knows it apart from the reward."""
    import numpy as np

    from textgym.types import TextBatch

    episodes = solution.tree.episodes
    best = np.array(solution.optimal_completion, dtype=np.int32)
    text = TextBatch([best[:0]], [best], episodes.task.tokenizer)
    return {name: float(truth.score(text).values[0]) for name, truth in episodes.gold.items()}


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 3), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")

    def row(name: str, value: float, note: str = "", style: str = "") -> None:
        table.add_row(Text(name, style=style), Text(f"{value:.4f}", style=style), Text(visible(note)))

    row("best return, V*", found["value"], " ".join(found["optimal_tokens"]), "bold")
    for name, value in found["gold"].items():
        row(f"  its gold {name}", value)
    row("uniform policy", found["uniform_value"])
    row("counts as solved", found["reward_threshold"], "99% of the way from the uniform policy to V*")
    table.add_row()
    row("soft value", found["soft_value"], f"beta {found['beta']:g}, reference {found['reference']}", "bold")
    row("  expected reward", found["expected_reward"])
    row("  KL", found["kl"], "nats a text")
    if (law := found["best_of_n"]) is not None:
        table.add_row()
        row(
            f"best of {law['n']:,}",
            law["expected_reward"],
            f"expected reward, of {found['reference']} texts",
            "bold",
        )
        row("  KL", law["kl"], f"nats a text; log n - (n - 1) / n = {law['kl_bound']:.4f}")
    head = (
        f"{found['world']} · {found['vocab_size']} actions, horizon {found['horizon']} · reward {found['reward']} · "
        f"gamma {found['gamma']:g} · {found['states']:,} states, {found['texts']:,} texts"
    )
    stdout().print(Text(visible(head)), soft_wrap=True)
    stdout().print()
    stdout().print(table)
