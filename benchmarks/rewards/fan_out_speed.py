"""How much faster jobs are side by side than one after the other: a JSON row.

    python -m textgym.benchmarks.rewards.fan_out_speed --out fan_out_speed.jsonl

Each job multiplies matrices, which keeps one core busy. The same jobs run with one worker and with several, in turns,
starting of the processes included.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from textgym.benchmarks.rewards.fan_out import run_jobs
from textgym.benchmarks.rewards.outcome import Job
from textgym.benchmarks.speed.rows import load, machine

from textgym.reports.results import Results
from textgym.runs.config import versions
from textgym.text.store import write_atomic

WORK = "textgym.benchmarks.rewards.fan_out_speed:multiply"
SIDE = 256


def main(
    out: Annotated[Path, typer.Option(help="JSON Lines file that the row is added to")] = Path("fan_out_speed.jsonl"),
    jobs: Annotated[int, typer.Option(min=2, help="how many")] = 12,
    products: Annotated[int, typer.Option(min=1, help="of matrices, in each")] = 3000,
    workers: Annotated[int, typer.Option(min=2, help="beside one")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="of both, in turns")] = 3,
) -> None:
    """Measures once."""
    before = load()
    seconds: dict[int, list[float]] = {1: [], workers: []}
    for _ in range(repeats):
        for count in seconds:
            seconds[count].append(timed(jobs, products, count))
    one, several = (statistics.median(times) for times in seconds.values())
    row = {"experiment": "fan-out", "jobs": jobs, "products": products, "workers": workers}
    row |= {
        "one_s": [round(each, 2) for each in seconds[1]],
        "several_s": [round(each, 2) for each in seconds[workers]],
    }
    row |= {"times": round(one / several, 2), "load": before, "machine": machine(), "versions": versions()}
    rows = out.read_bytes() if out.exists() else b""
    write_atomic(out, rows + json.dumps(row).encode() + b"\n")
    print(json.dumps(row))


def timed(jobs: int, products: int, workers: int) -> float:
    """Seconds that so many workers take for the jobs."""
    asked: list[Job] = [{"design": "product", "products": products, "seed": seed} for seed in range(jobs)]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        summary = run_jobs(asked, Results(Path(folder)), WORK, workers=workers)
        took = time.perf_counter() - begun
    assert summary.finished == jobs, summary.failures
    return took


def multiply(job: Job, folder: Path) -> dict[str, Any]:
    """Multiplies matrices."""
    matrix = np.random.default_rng(job["seed"]).standard_normal((SIDE, SIDE)) / SIDE**0.5
    product = matrix
    for _ in range(job["products"]):
        product = matrix @ product
        product /= np.abs(product).max()
    return {"facts": {"trace": float(product.trace())}}


if __name__ == "__main__":
    typer.run(main)
