"""A reward as one small Python file that another library is pointed at; it needs textgym installed and nothing else.

The file holds the expression, the settings of the task and the signature, and opens the reward on the first call. If
what it opens then has another signature (the corpus, a function's file or the version changed), it warns.
"""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from textgym.errors import ScorerError, UnknownNameError
from textgym.interop.portable_reward import PortableReward
from textgym.interop.service import HOST, PORT
from textgym.interop.verifiers import rubric

TARGETS = ("trl", "verl", "openrlhf", "verifiers", "http")


def export_source(reward: PortableReward, target: str, *, port: int = PORT) -> str:
    """The text of the file.

    Args:
        reward: as `textgym.interop.portable_reward` makes it.
        target: one of `TARGETS`.
        port: that an HTTP service listens at.

    Raises:
        UnknownNameError: no such target.
    """
    if target not in TARGETS:
        raise UnknownNameError("target", target, TARGETS)
    title, imports, body = _PARTS[target](reward)
    head = (
        f'"""{title}\n\nWritten by textgym {version("textgym")}; textgym export writes it again.\n"""\n\n'
        f"{imports}\n\n"
        f"SPEC = {reward.spec!r}\n"
        f"TASK = { {name: value for name, value in reward.task.items() if name != 'cache_dir'}!r}\n"
        f"SIGNATURE = {reward.signature!r}\n"
        f"{f'HOST, PORT = {HOST!r}, {port}' + chr(10) if target == 'http' else ''}\n"
        "REWARD = PortableReward(SPEC, TASK, SIGNATURE)\n"
    )
    return head + body


def usage(target: str, path: Path, *, port: int = PORT) -> str:
    """The line of configuration that uses a file.

    Args:
        target: one of `TARGETS`.
        path: where the file lies.
        port: that an HTTP service listens at.
    """
    module, file = path.stem, path.resolve()
    return {
        "trl": f"from {module} import reward; GRPOTrainer(..., reward_funcs=reward)",
        "verl": f"reward.custom_reward_function.path={file} reward.custom_reward_function.name=compute_score",
        "openrlhf": f"--reward.remote_url {file}",
        "verifiers": f"from {module} import functions, weights; vf.Rubric(funcs=functions, weights=weights)",
        "http": f'python {path}; curl -s {HOST}:{port}/score -d \'{{"rows": [{{"completion": "a text"}}]}}\'',
    }[target]


def _trl(reward: PortableReward) -> tuple[str, str, str]:
    body = (
        '\nreward = TRLReward(REWARD)\n"""For reward_funcs."""\n'
        '\nasync_reward = asynchronous(reward)\n"""The same, for TRL to await beside other functions."""\n'
    )
    try:
        terms = reward.terms()
    except ScorerError:  # no sum: there is nothing to split
        terms = {}
    if len(terms) > 1:
        lines = [
            f"    TRLReward(PortableReward({term.spec!r}, TASK, {_signed(term)!r}), {name!r}),\n"
            for name, (_, term) in terms.items()
        ]
        body += (
            f"\nreward_funcs = [\n{''.join(lines)}]\n"
            f"reward_weights = {[weight for weight, _ in terms.values()]!r}\n"
            '"""Each term on its own: reward_funcs=reward_funcs, and GRPOConfig(reward_weights=reward_weights)."""\n'
        )
    imports = (
        "from textgym.interop.portable_reward import PortableReward\n"
        "from textgym.interop.trl import TRLReward, asynchronous"
    )
    return "A reward for TRL: GRPOTrainer(..., reward_funcs=reward).", imports, body


def _verl(reward: PortableReward) -> tuple[str, str, str]:
    body = '''_reward = VerlReward(REWARD)


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **settings):
    """For reward.custom_reward_function.{path,name}: the reward as "score", and its components."""
    return _reward(data_source, solution_str, ground_truth, extra_info)


def compute_scores(data_sources, solution_strs, ground_truths, extra_infos, **settings):
    """The same for verl's batch manager."""
    return _reward.batch(data_sources, solution_strs, ground_truths, extra_infos)


class RewardManager(VerlRewardManager):
    """For reward.reward_manager.{source=importlib,name=RewardManager,module.path}: pays every token what it earned."""

    reward = REWARD
'''
    imports = (
        "from textgym.interop.portable_reward import PortableReward\n"
        "from textgym.interop.verl import VerlReward, VerlRewardManager"
    )
    return "A reward for verl: a compute_score, and a reward manager that pays every token.", imports, body


def _openrlhf(reward: PortableReward) -> tuple[str, str, str]:
    body = '''_reward = OpenRLHFReward(REWARD)


def reward_func(queries, prompts, labels, **settings):
    """Rewards, scores between 0 and 1, and components to log, as tensors."""
    return _reward(queries, prompts, labels)
'''
    imports = (
        "from textgym.interop.openrlhf import OpenRLHFReward\n"
        "from textgym.interop.portable_reward import PortableReward"
    )
    return "A reward for OpenRLHF: reward_func.", imports, body


def _verifiers(reward: PortableReward) -> tuple[str, str, str]:
    functions, weights = rubric(reward)
    lines = [
        f"    VerifiersReward(PortableReward({one.reward.spec!r}, TASK, {_signed(one.reward)!r}), {one.name!r}),\n"
        for one in functions[1:]
    ]
    body = (
        f"\nfunctions = [\n    VerifiersReward(REWARD, 'reward'),\n{''.join(lines)}]\n"
        f"weights = {weights!r}\n"
        '"""The reward, and its components, which weigh nothing and are logged."""\n'
    )
    imports = (
        "from textgym.interop.portable_reward import PortableReward\n"
        "from textgym.interop.verifiers import VerifiersReward"
    )
    return "A reward for verifiers: vf.Rubric(funcs=functions, weights=weights).", imports, body


def _http(reward: PortableReward) -> tuple[str, str, str]:
    body = """
if __name__ == "__main__":
    serve(REWARD, HOST, PORT)
"""
    imports = "from textgym.interop.portable_reward import PortableReward\nfrom textgym.interop.service import serve"
    return "A reward as a service: POST /score, GET /health; see textgym.interop.service.", imports, body


def _signed(reward: PortableReward) -> str:
    """The signature of a reward as it is now."""
    return reward.signature or reward.opened.reward.signature


_PARTS: dict[str, Callable[[PortableReward], tuple[str, str, str]]] = {
    "trl": _trl,
    "verl": _verl,
    "openrlhf": _openrlhf,
    "verifiers": _verifiers,
    "http": _http,
}
"""Of each target: what the file is, what it imports, and what it defines."""
