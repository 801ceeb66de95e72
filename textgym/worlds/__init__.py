"""Texts whose truth is known exactly: the story world, and micro worlds that are small enough to be solved."""
