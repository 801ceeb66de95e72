"""How long the report takes, and how much memory, from rows that are made up: a JSON row.

    python -m textgym.benchmarks.rewards.report_speed --out report_speed.jsonl

The rows are written to a folder first, by a process of their own; then a fresh process reads them, makes the report,
the page and the tables, and says how long each took and how much was in memory at most. Asked of 500 runs with 500
texts and about 30 columns: under 30 s and 2 GiB on one core.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from textgym.benchmarks.rewards.simulated import Simulated, rows
from textgym.benchmarks.speed.memory import MIB, peak

from textgym.text.store import write_atomic

DESIGNS, BETAS, SIZES = 12, (0.01, 0.03, 0.1, 0.3, 1.0), (2, 4, 8, 16, 32, 64)
CHECKPOINTS, SEEDS = 3, 2
NAMED = 14
"""Columns that made-up rows have beside scores."""


def main(
    out: Annotated[Path, typer.Option(help="JSON Lines file that the row is added to")] = Path("report_speed.jsonl"),
    texts: Annotated[int, typer.Option(min=2, help="held-out briefs")] = 500,
    columns: Annotated[int, typer.Option(min=20, help="measures of a text")] = 30,
) -> None:
    """Measures once."""
    with tempfile.TemporaryDirectory() as folder:
        _in_a_process("write", folder, str(texts), str(columns))
        found = _in_a_process("measure", folder)
    row = {"experiment": "report", "texts": texts, "columns": columns, **found}
    before = out.read_bytes() if out.exists() else b""
    write_atomic(out, before + json.dumps(row).encode() + b"\n")
    print(json.dumps(row))


def made_up(texts: int, columns: int) -> Iterator[dict[str, Any]]:
    """About 500 rows: designs, betas, best-of-n and one thing varied, on three checkpoints."""
    designs = [Simulated(f"design {i}", f"scorer {i}", 0.02 * i, 0.3 * i, 0.05 * i, 2.0 + i) for i in range(DESIGNS)]
    varied = [
        Simulated(
            one.name,
            one.reward,
            one.gold * beta,
            one.proxy,
            kl=one.kl / beta / 10,
            variant={"beta": beta},
            experiment="kl",
        )
        for one in designs[:7]
        for beta in BETAS
    ]
    varied += [
        Simulated("design 1", "fluency", gamma / 5, 1.0, experiment="gamma", variant={"gamma": gamma})
        for gamma in (0.9, 0.95, 0.99, 1.0)
    ]
    picked = [
        Simulated(one.name, one.reward, one.gold, one.proxy, kl=1.0, kind="best_of_n", variant={"n": n})
        for one in designs
        for n in SIZES
    ]
    made = partial(rows, checkpoints=CHECKPOINTS, prompts=texts, scorers=columns - NAMED, texts=6)
    for row in made([*designs, *varied], seeds=SEEDS):
        row["job"]["beta"] = row["job"]["variant"].get("beta", row["job"]["beta"])
        yield row
    yield from (row for row in made(picked) if row["job"]["kind"] == "best_of_n")


def write(folder: str, texts: str, columns: str) -> dict[str, Any]:
    """Writes the rows."""
    with (Path(folder) / "rows.jsonl").open("w", encoding="utf-8") as file:
        for row in made_up(int(texts), int(columns)):
            file.write(json.dumps(row) + "\n")
    return {}


def measure(folder: str) -> dict[str, Any]:
    """Reads them, and makes all that `textgym report` writes."""
    from textgym.reports.page import page
    from textgym.reports.results import read_rows
    from textgym.reports.rewards.report import rewards_report, tables_csv

    begun = time.perf_counter()
    count = sum(1 for _ in read_rows(Path(folder)))
    read = time.perf_counter()
    report = rewards_report(read_rows(Path(folder)))
    made = time.perf_counter()
    html, tables = page(report), tables_csv(report)
    ended = time.perf_counter()
    return {
        "rows": count,
        "rows_mib": round((Path(folder) / "rows.jsonl").stat().st_size / MIB, 1),
        "read_s": round(read - begun, 2),
        "report_s": round(made - read, 2),
        "page_s": round(ended - made, 2),
        "page_mib": round(len(html.encode()) / MIB, 2),
        "tables": len(tables),
        "peak_mib": round(peak() / MIB),
    }


def _in_a_process(*command: str) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    asked = [sys.executable, "-m", "textgym.benchmarks.rewards.report_speed", *command]
    done = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        print(json.dumps(write(*sys.argv[2:])))
    elif sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        typer.run(main)
