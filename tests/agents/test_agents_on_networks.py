"""Every kind of agent on networks that are not our Transformer."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from textgym.models.checkpoint import new_model, save_checkpoint
from textgym.sb3 import make_sb3_env
from textgym.text.hugging_face import open_hugging_face

sys.path.append(str(Path(__file__).parents[1] / "models"))

import hf_samples

AGENTS = ["reinforce", "rloo", "grpo", "ppo", "a2c", "trpo", "maskable_ppo", "nlpo", "mle", "expert_iteration", "dqn"]
WITHOUT_KL = ("dqn", "mle", "expert_iteration")
SETTINGS = {"dqn": {"learning_starts": 64}}
TOKENS = {"mle": 1500}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    tokenizer = open_hugging_face(hf_samples.llama(root / "llama"))
    reserved = (tokenizer.unk_id, tokenizer.sep_id)
    lstm = new_model("lstm-tiny", vocab_size=tokenizer.vocab_size, context=64, banned=reserved)
    save_checkpoint(root / "lstm", lstm, tokenizer)
    rows = [json.dumps({"prompt": f"The cat {i}", "reference": " sat."}) for i in range(20)]
    (root / "prompts.jsonl").write_text("\n".join(rows))
    return root


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.filterwarnings("ignore:The final batch")
@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("kind", ["lstm", "llama"])
def test_an_agent_learns_on_any_network(folders, name, kind):
    build = import_module(f"textgym.agents.{name}").build
    data = {"prompts": str(folders / "prompts.jsonl"), "tokenizer": str(folders / "llama"), "max_new_tokens": 6}
    needs = dict(getattr(build, "environment", {}))
    env = make_sb3_env("TextGen-v0", n_envs=16, seed=0, reward="chrf", **data, **needs)
    penalty = {} if name in WITHOUT_KL else {"kl_coef": 0.1}
    agent = build(env, str(folders / kind), seed=0, device="cpu", **penalty, **SETTINGS.get(name, {}))
    before = [weight.detach().clone() for weight in agent.policy.parameters()]
    agent.learn(TOKENS.get(name, 200))
    assert any(bool((old != new).any()) for old, new in zip(before, agent.policy.parameters(), strict=True))
