"""Micro worlds: a vocabulary and a horizon small enough for exact answers."""

from textgym.worlds.micro.language import BigramLanguage
from textgym.worlds.micro.machine import Machine, MachineScorer
from textgym.worlds.micro.optimum import Optimum, optimum
from textgym.worlds.micro.world import HORIZON, VOCAB_SIZES, WORLDS, MicroWorld, micro_world

__all__ = [
    "HORIZON",
    "VOCAB_SIZES",
    "WORLDS",
    "BigramLanguage",
    "Machine",
    "MachineScorer",
    "MicroWorld",
    "Optimum",
    "micro_world",
    "optimum",
]
