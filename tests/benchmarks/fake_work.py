"""Work for the tests of the fan-out; workers import it, so that it imports little."""

import os
import signal
import time


def found(job, folder):
    """Tells what the row is known by; a job says how else it behaves. "once" ends the worker the first time only."""
    with (folder / "pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(job.get("sleep", 0))
    if job.get("raises"):
        raise ValueError(job["raises"])
    if job.get("dies") == "always" or (job.get("dies") == "once" and not (folder / "died").exists()):
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    texts = ["x" * job.get("length", 0), *[float("nan")] * job.get("nans", 0)]
    return {"facts": {"square": job["seed"] ** 2, "pid": os.getpid()}, "texts": texts}


def partial_row(job, folder):
    """Ends the worker in the midst of an answer, larger than a pipe holds."""
    if not (folder / "died").exists():
        (folder / "died").touch()
        write = os.write

        def cut(file, data):
            write(file, data[:100])
            os.kill(os.getpid(), signal.SIGKILL)

        os.write = cut
    return {"facts": {"text": "x" * 300_000}}


def threads(job, folder):
    """How many threads the libraries take."""
    import numpy as np
    import torch
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return {"facts": {"torch": torch.get_num_threads(), "pools": [pool["num_threads"] for pool in threadpool_info()]}}


def chatty(job, folder):
    """Prints, warns and fails."""
    import warnings

    print("printed by a worker")
    warnings.warn("warned by a worker", stacklevel=1)
    os.system("echo said by a program")
    return {}


def interrupted(job, folder):
    """Fails where Ctrl-C reaches a worker."""
    signal.raise_signal(signal.SIGINT)
    return {"facts": {}}


def on_a_node(job, folder):
    """Tells on which machine of a Ray cluster it ran."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    with (folder / "begun").open("a") as file:
        file.write(f"{job['seed']} {node}\n")
    return {**found(job, folder), "node": node, "threads": os.environ["OMP_NUM_THREADS"]}
