"""The possible worlds, kept as a sum of small tables, equal a simulation of every world there is."""

import numpy as np
import pytest
from brute_force import AllWorlds, world_named
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.worlds.story.brief import Brief, Shape
from textgym.worlds.story.events import Kind
from textgym.worlds.story.worlds import PossibleWorlds, priors

SHAPES = [Shape(2, 2, 1), Shape(2, 2, 2), Shape(2, 3, 1), Shape(3, 2, 1)]


def draw_event(rng, shape, colours):
    """Anything that can be said, true or not."""
    kind = rng.integers(9)
    p, q = rng.choice(shape.people, size=2, replace=False)
    o, place, colour = rng.integers(shape.objects), rng.integers(shape.places), rng.integers(colours)
    match kind:
        case Kind.IS_IN | Kind.GO:
            return (kind, p, -1, -1, place, -1)
        case Kind.COLOUR:
            return (kind, -1, -1, o, -1, colour)
        case Kind.OBJECT_AT:
            return (kind, -1, -1, o, place, -1)
        case Kind.GIVE:
            return (kind, p, q, o, -1, -1)
        case Kind.MEET:
            return (kind, p, q, -1, -1, -1)
        case _:
            return (kind, p, -1, o, -1, -1)


def draw_true_event(rng, shape, colours, worlds):
    """One that can happen in the true world, if a few tries find it."""
    for _ in range(20):
        event = draw_event(rng, shape, colours)
        if worlds._happens(list(worlds.states[worlds.true]), event):
            return event
    return event


def draw_brief(rng, shape, colours):
    return Brief(
        people=np.arange(shape.people),
        places=np.arange(shape.places),
        objects=np.arange(shape.objects),
        colours=rng.integers(colours, size=shape.objects),
        at=rng.integers(shape.places, size=shape.people),
        where=rng.integers(shape.whereabouts, size=shape.objects),
    )


def assert_equal_after_every_event(shape, colours, seed, events, truthful):
    """Flags, the fewest violations, the posterior of every fact, and bits; in a row among others."""
    rng = np.random.default_rng(seed)
    brief = draw_brief(rng, shape, colours)
    worlds, tables = AllWorlds(brief, shape, colours), PossibleWorlds(shape, colours, 3)
    tables.begin(np.arange(3), [draw_brief(rng, shape, colours), brief, draw_brief(rng, shape, colours)])
    row = np.array([1])
    prior = [sum(world[i] == fact for world in worlds.initial) for i, fact in enumerate(worlds.initial[worlds.true])]
    np.testing.assert_allclose(priors(shape, colours), np.array(prior) / len(worlds.initial))
    for _ in range(events):
        true = rng.random() < truthful
        event = draw_true_event(rng, shape, colours, worlds) if true else draw_event(rng, shape, colours)
        verdict = tables.apply(row, np.array([event]))
        found = [bool(flag[0]) for flag in (verdict.contradicts, verdict.unfaithful, verdict.informs, verdict.changes)]
        assert found == list(worlds.apply(event)), (event, brief)
        assert tables.fewest[1] == min(worlds.violations) and tables.fewest[0] == tables.fewest[2] == 0
        np.testing.assert_allclose(tables.beliefs(row)[0], worlds.beliefs(), atol=1e-12)
        np.testing.assert_allclose(tables.bits(row)[0], worlds.bits(), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32 - 1),
    events=st.integers(1, 12),
    truthful=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
)
def test_tables_equal_all_worlds_on_any_events(shape, seed, events, truthful):
    assert_equal_after_every_event(shape, 2, seed, events, truthful)


@pytest.mark.parametrize(("seed", "truthful"), [(0, 0.8), (1, 0.0)])
def test_and_in_the_shape_of_the_small_preset(seed, truthful):
    """3,456 worlds, times 8 colourings of two colours."""
    assert_equal_after_every_event(world_named("en-small").shape, 2, seed, 5, truthful)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_and_in_longer_stories_of_more_shapes(seed):
    for shape in (*SHAPES, Shape(2, 3, 2), Shape(3, 2, 2)):
        assert_equal_after_every_event(shape, 3, seed, 25, [0.0, 0.5, 0.9, 1.0][seed % 4])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_and_in_longer_stories_of_the_small_preset(seed):
    assert_equal_after_every_event(world_named("en-small").shape, 2, seed, 14, 0.7)


def test_a_hand_computed_posterior():
    """P = 2, L = 2, O = 1: once p holds the thing, its place is told; once it was taken there, so is that of p."""
    shape = Shape(2, 2, 1)
    brief = Brief(np.arange(2), np.arange(2), np.arange(1), np.zeros(1, int), np.array([0, 1]), np.array([0]))
    tables, row = PossibleWorlds(shape, 2, 1), np.array([0])
    tables.begin(row, [brief])
    assert tables.beliefs(row)[0].tolist() == [0.5, 0.5, 0.25, 0.5]
    tables.apply(row, np.array([(Kind.TAKE, 0, -1, 0, -1, -1)]))  # the thing lay where p was: of 16 worlds 4 are left
    assert tables.beliefs(row)[0].tolist() == [0.5, 0.5, 0.5, 0.5] and tables.bits(row)[0] == 2.0
    tables.apply(row, np.array([(Kind.IS_IN, 0, -1, -1, 0, -1)]))
    assert tables.beliefs(row)[0].tolist() == [1.0, 0.5, 1.0, 0.5] and tables.bits(row)[0] == 3.0
    tables.apply(row, np.array([(Kind.IS_IN, 0, -1, -1, 1, -1)]))  # a lie: what it contradicts is as likely as it
    assert tables.fewest[0] == 1 and tables.beliefs(row)[0, 0] == 0.5
