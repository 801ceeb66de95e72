"""Micro worlds: a vocabulary and a horizon small enough for exact answers."""
