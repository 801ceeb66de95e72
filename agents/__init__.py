"""Agents, one algorithm a file; installed as `textgym.agents` and found by name through the entry points of that group.

Each file has a `build(env, model, ...)` that gives an agent which is ready to `learn`.
"""
