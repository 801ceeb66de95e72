"""How much is measured: the full plan, the quick one, and whatever a test makes up."""

from dataclasses import dataclass, replace

from textgym.benchmarks.speed.setting import Setting

SETTING_A = Setting()
"""A GPT-2-shaped model of 0.87 M parameters, 64 rows of 64 tokens."""

LARGE_VOCABULARY = Setting(6, 6, 384, 50_257, epochs=1, batch_size=4096)
"""10.6 M parameters beside the embeddings (nanoGPT's character model), V of GPT-2; 4,096 tokens are one minibatch."""

GPT2 = Setting(12, 12, 768, 50_257, max_new_tokens=128, rows=256, batch_size=8192)
"""The smallest GPT-2, 124 M parameters."""


@dataclass(frozen=True)
class Plan:
    """Shapes and amounts.

    Args:
        setting: setting A.
        repeats: turns.
        iterations: PPO iterations, and generation batches of TRL, a turn.
        obvious_steps: vector steps of the obvious way's rollout, a turn.
        budgets: values of T for `lengths` and for the memory of rollouts; the obvious way takes 8 GiB at T = 256.
        transitions: of the vector environment; the single one takes a sixteenth.
        rollouts: of `reward`, each kind, a turn.
        corpus: what the default reward is measured on; None is the task `docstrings`.
        square: side of the large matrix product.
        product_seconds: how long each take of a matrix product lasts, about.
        memory: shape of the update whose memory is measured.
        memory_minibatch: the same with minibatches of so many tokens.
        gpu: the shape that runs on a GPU.
        gpu_device: where that runs; the CPU is only for tests.
        compiled: whether to measure a compiled network there too, which takes a C compiler and a minute.
    """

    setting: Setting = SETTING_A
    repeats: int = 3
    iterations: int = 4
    obvious_steps: int = 16
    budgets: tuple[int, ...] = (32, 64, 128, 256)
    transitions: int = 2**20
    rollouts: int = 5
    corpus: str | None = None
    square: int = 2048
    product_seconds: float = 0.05
    memory: Setting = LARGE_VOCABULARY
    memory_minibatch: int = 1024
    gpu: Setting = GPT2
    gpu_device: str = "cuda"
    compiled: bool = True

    def with_threads(self, threads: int) -> "Plan":
        """The same plan on another number of threads."""
        shapes = {name: replace(getattr(self, name), threads=threads) for name in ("setting", "memory", "gpu")}
        return replace(self, **shapes)


QUICK = Plan(
    repeats=1, iterations=1, obvious_steps=2, budgets=(32, 64, 128), transitions=2**17, rollouts=2, product_seconds=0.02
)
"""A few minutes: one turn of everything, at the shapes of the full plan. Says whether it runs, not how fast it is."""
