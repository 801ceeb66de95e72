"""The story world: briefs, stories about them, and the exact truth of every story."""
