"""Speed of the story world: stories a CPU-second for each part of gold, and the cost of a token in an environment.

    python -m textgym.benchmarks.story_world --out story_world.jsonl
    python -m textgym.benchmarks.story_world --show story_world.jsonl      # the table, from the saved rows alone

CPU seconds of one process on one thread, so that what else runs on the machine counts little; the corpus that models
are trained on, with its noise and repetitions. The parts:
    fluency: `Reader` alone, which also parses.
    filter: `PossibleWorlds` alone, on events that were parsed before.
    truth: `Truth`, all axes at once, a batch of whole stories.
    environment: the same in 256 rows that each begin a new story as soon as one has ended.
    generator: clean stories and their briefs.
"""
