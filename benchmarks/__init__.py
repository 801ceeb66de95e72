"""Benchmarks: one a folder; each writes JSON rows, and every table is made from rows."""
