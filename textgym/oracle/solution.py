"""The solution of a task: values, optimal and soft-optimal policies, and what any other policy is worth beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

from textgym.errors import TaskError
from textgym.oracle import bellman
from textgym.oracle.bellman import Values
from textgym.oracle.best_of_n import BestOfN, best_of
from textgym.oracle.draw import drawn
from textgym.oracle.policies import Policy, ask, looked_up, uniform
from textgym.oracle.prefixes import PrefixTree
from textgym.types import TokenIds

TIE = 1e-9
"""Actions whose Q differs by no more, relative to the largest value there is, are equally good."""

Text = str | Sequence[int] | TokenIds
"""A completion or a prompt: as text or as ids."""


@dataclass(frozen=True, eq=False)
class SoftSolution:
    """What KL-regularised learning converges to: pi* proportional to pi_ref exp(Q / beta).

    The identities V = beta log E_ref exp(R / beta) and KL = (E R - V) / beta hold at gamma = 1.

    Attributes:
        beta: the price of a nat.
        values: soft V and Q.
        reference: (N, V) log-probabilities of pi_ref.
        logprobs: (N, V) log-probabilities of pi*.
        value: V of the beginning: the expected return of pi* less beta times its KL.
        expected_reward: expected return of pi*.
        kl: KL(pi* || pi_ref) between the distributions of texts, in nats.
    """

    beta: float
    values: Values
    reference: Float64[np.ndarray, "N V"]
    logprobs: Float64[np.ndarray, "N V"]
    value: float
    expected_reward: float
    kl: float


@dataclass(frozen=True)
class Evaluation:
    """What a policy is worth.

    Attributes:
        value: its expected return.
        regret: (V* - value) / (V* - V_uniform): 0 for the best policy, 1 for the uniform one.
        kl: KL(policy || reference) between the distributions of texts, in nats; None without beta.
        soft_value: expected return less beta times the KL, discounted alike; None without beta.
        soft_regret: as `regret`, of the soft value; 0 for the soft-optimal policy. None without beta.
    """

    value: float
    regret: float
    kl: float | None = None
    soft_value: float | None = None
    soft_regret: float | None = None


@dataclass(frozen=True, eq=False)
class Solution:
    """Exact answers; `textgym.oracle.solve` makes it.

    Attributes:
        tree: the prefixes that were enumerated.
        gamma: the discount.
        values: V* and Q*.
        soft: the soft solution; None where no beta was given.
    """

    tree: PrefixTree
    gamma: float
    values: Values
    soft: SoftSolution | None = None

    @property
    def value(self) -> float:
        """V*: the best expected return."""
        return bellman.at_start(self.tree, self.values.v)

    @cached_property
    def uniform_value(self) -> float:
        """The expected return of the policy that chooses uniformly among what the mask allows."""
        return self._value(ask(uniform, self.tree))

    @property
    def states(self) -> int:
        """Prefixes at which an action is chosen; where they were merged, states."""
        return len(self.tree)

    @property
    def texts(self) -> int:
        """Finished texts; where prefixes were merged, ways to end."""
        return self.tree.texts

    @property
    def soft_value(self) -> float | None:
        """Soft V of the beginning; None without beta."""
        return None if self.soft is None else self.soft.value

    @property
    def expected_reward(self) -> float | None:
        """Expected return of the soft-optimal policy; None without beta."""
        return None if self.soft is None else self.soft.expected_reward

    @property
    def kl(self) -> float | None:
        """KL of the soft-optimal policy from the reference, in nats a text; None without beta."""
        return None if self.soft is None else self.soft.kl

    # --- at a prefix -------------------------------------------------------------------------------------------------

    def prefix_value(self, completion: Text = (), prompt: Text = ()) -> float:
        """V* of an unfinished text.

        Raises:
            TaskError: it is none.
        """
        return float(self.values.v[self._place(completion, prompt)])

    def action_values(self, completion: Text = (), prompt: Text = ()) -> Float64[np.ndarray, " V"]:
        """Q* of each next token (V,), -inf where the mask forbids it.

        Raises:
            TaskError: the text is finished, or none of this task's.
        """
        found: Float64[np.ndarray, " V"] = self.values.q[self._place(completion, prompt)].copy()
        return found

    def optimal_actions(self, completion: Text = (), prompt: Text = ()) -> tuple[int, ...]:
        """All next tokens that are as good as the best.

        Raises:
            TaskError: the text is finished, or none of this task's.
        """
        return tuple(np.flatnonzero(self.ties[self._place(completion, prompt)]).tolist())

    def _place(self, completion: Text, prompt: Text) -> int:
        openings = self.tree.openings
        if not len(prompt) and len(openings) == 1:
            return self.tree.place(self._ids(completion))
        ids = np.append(self._ids(prompt), openings.sep_id).astype(np.int32)
        return self.tree.place(self._ids(completion), openings.find(ids, len(ids)))

    def _ids(self, text: Text) -> TokenIds:
        if isinstance(text, str):
            return self.tree.episodes.task.tokenizer.encode(text)
        return np.asarray(text, dtype=np.int32)

    # --- policies ----------------------------------------------------------------------------------------------------

    @cached_property
    def ties(self) -> Bool[np.ndarray, "N V"]:
        """Where an action is as good as the best, (N, V)."""
        scale = max(1.0, float(np.abs(self.values.v).max()))
        ties: Bool[np.ndarray, "N V"] = self.values.q >= self.values.v[:, None] - TIE * scale
        return ties

    @property
    def optimal_policy(self) -> Policy:
        """The best action at each prefix, with probability 1; the lowest id of those that are equally good."""
        choice = np.full(self.values.q.shape, -np.inf)
        choice[np.arange(len(choice)), self.ties.argmax(axis=1)] = 0.0
        return looked_up(self.tree, choice)

    @property
    def soft_policy(self) -> Policy:
        """The soft-optimal policy.

        Raises:
            TaskError: no beta was given.
        """
        return looked_up(self.tree, self._soft().logprobs)

    @property
    def reference_policy(self) -> Policy:
        """The reference of the soft solution.

        Raises:
            TaskError: no beta was given.
        """
        return looked_up(self.tree, self._soft().reference)

    def _soft(self) -> SoftSolution:
        if self.soft is None:
            raise TaskError("no soft solution: solve(task, beta=...) has one")
        return self.soft

    @cached_property
    def optimal_completion(self) -> tuple[int, ...]:
        """Ids of the best text of the first prompt; where several are equally good, the lowest ids."""
        place, written = 0, []
        while place >= 0:
            written.append(int(self.ties[place].argmax()))
            place = int(self.tree.children[place, written[-1]])
        return tuple(written)

    @property
    def optimal_text(self) -> str:
        """The best text, as text."""
        return self.tree.episodes.task.tokenizer.decode(self.optimal_completion)

    def evaluate(self, policy: Policy) -> Evaluation:
        """What a policy is worth.

        Args:
            policy: function of `Prefixes`; see `textgym.oracle.policies` and `textgym.agents.exact_policy`.

        Raises:
            TaskError: it is no policy of this task, see `policies.ask`; or all policies are worth the same.
        """
        logprobs = ask(policy, self.tree)
        value = self._value(logprobs)
        regret = _regret(self.value, value, self.uniform_value)
        if self.soft is None:
            return Evaluation(value, regret)
        soft_value, kl = soft_return(self.tree, self.gamma, logprobs, self.soft.reference, self.soft.beta)
        chance = ask(uniform, self.tree)
        uniform_value, _ = soft_return(self.tree, self.gamma, chance, self.soft.reference, self.soft.beta)
        return Evaluation(value, regret, kl, soft_value, _regret(self.soft.value, soft_value, uniform_value))

    def regret(self, policy: Policy) -> float:
        """(V* - V) / (V* - V_uniform) of a policy; errors as in `evaluate`."""
        return _regret(self.value, self._value(ask(policy, self.tree)), self.uniform_value)

    def policy_values(self, policy: Policy) -> Values:
        """V and Q of a policy at every prefix, and with them its exact advantages; errors as in `evaluate`."""
        return self._policy_values(ask(policy, self.tree))

    def visits(self, policy: Policy) -> Float64[np.ndarray, " N"]:
        """How likely an episode of a policy comes by each prefix of the tree, (N,); errors as in `evaluate`."""
        return bellman.visits(self.tree, np.exp(ask(policy, self.tree)))

    def _policy_values(self, logprobs: Float64[np.ndarray, "N V"]) -> Values:
        return bellman.backward(self.tree, self.gamma, bellman.under(np.exp(logprobs)))

    def _value(self, logprobs: Float64[np.ndarray, "N V"]) -> float:
        return bellman.at_start(self.tree, self._policy_values(logprobs).v)

    def best_of_n(self, n: int, policy: Policy = uniform) -> BestOfN:
        """The exact law of the best of n texts of a policy; errors as in `best_of_n.best_of` and `evaluate`."""
        return best_of(self.tree, ask(policy, self.tree), n)

    def draw(self, *, depth: int | None = None, lines: int = 60) -> str:
        """The prefix tree as text, with V, Q and the best path marked.

        Args:
            depth: tokens of the longest prefix shown; None for as many as fit.
            lines: the most lines; what is left out is counted.
        """
        return drawn(self.tree, self.values, self.optimal_completion, self.gamma, depth=depth, lines=lines)


def soft_return(
    tree: PrefixTree,
    gamma: float,
    logprobs: Float64[np.ndarray, "N V"],
    reference: Float64[np.ndarray, "N V"],
    beta: float,
) -> tuple[float, float]:
    """Expected return less beta times the KL of a policy, and that KL in nats a text (inf, where pi_ref is 0)."""
    chances = np.exp(logprobs)
    with np.errstate(invalid="ignore"):
        ratio = np.where(chances > 0, logprobs - reference, 0.0)
    nats = (chances * ratio).sum(axis=1)
    rewards = bellman.under(chances)

    def backup(q: Float64[np.ndarray, "K V"], rows: slice) -> Float64[np.ndarray, " K"]:
        found: Float64[np.ndarray, " K"] = rewards(q, rows) - beta * nats[rows]
        return found

    value = bellman.at_start(tree, bellman.backward(tree, gamma, backup).v)
    return value, float(bellman.visits(tree, chances) @ nats)


def _regret(best: float, value: float, chance: float) -> float:
    if best - chance <= TIE * max(1.0, abs(best)):
        raise TaskError(f"the uniform policy is as good as the best, {best:g}: there is nothing to regret")
    return (best - value) / (best - chance)
