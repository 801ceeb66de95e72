"""The page on policies runs from top to bottom, with a small GPT-2 in place of the real one."""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "models"))

import hf_samples

PAGE = Path(__file__).parents[2] / "docs/policies.md"


@pytest.mark.filterwarnings("ignore")  # small rollouts of small models: settings one would not choose
def test_the_page_on_policies_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hf_samples.gpt2(tmp_path / "gpt2")
    rows = [json.dumps({"prompt": f"The cat {i}", "reference": " sat."}) for i in range(20)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(rows))
    session: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, "example", "exec"), session)
    assert (tmp_path / "runs/gpt2/model.safetensors").is_file()
