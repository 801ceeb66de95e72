"""Worlds of all presets and languages, and stories told by hand."""

import numpy as np
import pytest
from brute_force import BRIEF, BRIEF_ZH, WORLDS, world_named


@pytest.fixture(params=WORLDS)
def world(request):
    return world_named(request.param)


@pytest.fixture(scope="session", params=WORLDS)
def corpus(request):
    """A world, briefs and clean stories about them."""
    world, rng = world_named(request.param), np.random.default_rng(7)
    briefs = [world.briefs.draw(rng) for _ in range(300)]
    return world, briefs, [world.generator().story(brief, rng) for brief in briefs]


@pytest.fixture
def tell():
    """Reads a text under the brief above, English or Chinese: the truth, and the verdict on every sentence."""

    def told(text, brief=None):
        chinese = not text.isascii()
        world = world_named("zh-small" if chinese else "en-small")
        tokenizer, truth = world.lexicon.tokenizer, world.truth(1)
        truth.begin(np.arange(1), [world.briefs.decode(tokenizer.encode(brief or (BRIEF_ZH if chinese else BRIEF)))])
        verdicts = []
        for token in tokenizer.encode(text if chinese else f" {text}").tolist():
            _, judged = truth.advance(np.arange(1), np.array([token]))
            verdicts += [judged] if judged else []
        return truth, verdicts

    return told
