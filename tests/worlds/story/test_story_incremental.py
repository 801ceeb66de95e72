"""A story that grows among others, in any row, order and rhythm, has the truth of the story alone, bit for bit."""

import numpy as np
import pytest
from brute_force import WORLDS, world_named

AXES = ("fluency", "unparsed", "contradictions", "unfaithfulness", "redundancy", "accuracy", "bits", "changes")
AXES += ("quality", "types")


def books(truth, rows):
    return {axis: getattr(truth, axis)(rows).tolist() for axis in AXES}


def written(world, count, seed):
    """Briefs with stories, half of them damaged: words exchanged, full stops lost, cut off, or going on after it."""
    rng = np.random.default_rng(seed)
    briefs = [world.briefs.draw(rng) for _ in range(count)]
    stories = [world.generator(noise=0.2, repetition=0.1).story(brief, rng) for brief in briefs]
    for number in range(0, count, 2):
        ids = stories[number].copy()
        ids[rng.random(len(ids)) < 0.1] = rng.integers(world.lexicon.tokenizer.vocab_size)
        stories[number] = np.concatenate([ids[: rng.integers(len(ids) + 1)], ids[rng.integers(len(ids)) :]])
    return briefs, stories


def alone(world, brief, ids):
    """The log P of every token, and the books at the end."""
    truth = world.truth(1)
    truth.begin(np.arange(1), [brief])
    logp = [truth.advance(np.arange(1), np.array([token], dtype=np.int64))[0][0] for token in ids.tolist()]
    return logp, books(truth, np.arange(1))


@pytest.mark.parametrize("name", WORLDS)
def test_rows_at_different_places_that_start_again_at_different_times(name):
    world, rng, rows = world_named(name), np.random.default_rng(5), 6
    briefs, stories = written(world, 18, 0)
    expected = [alone(world, brief, ids) for brief, ids in zip(briefs, stories, strict=True)]
    truth, waiting = world.truth(rows), list(range(len(stories)))
    playing, place, logp = np.full(rows, -1), np.zeros(rows, dtype=np.int64), [[] for _ in stories]
    done = 0
    while done < len(stories):
        over = [row for row in range(rows) if playing[row] < 0 or place[row] == len(stories[playing[row]])]
        for row in over:
            if playing[row] >= 0:
                number = playing[row]
                assert logp[number] == expected[number][0]
                assert books(truth, np.array([row])) == expected[number][1]
                done += 1
            playing[row] = waiting.pop() if waiting else -1
        fresh = np.array([row for row in over if playing[row] >= 0], dtype=np.int64)
        truth.begin(fresh, [briefs[playing[row]] for row in fresh])
        place[over] = 0
        live = rng.permutation([r for r in range(rows) if playing[r] >= 0 and place[r] < len(stories[playing[r]])])
        live = live[rng.random(len(live)) < 0.7].astype(np.int64)  # some wait
        if len(live):
            found, _ = truth.advance(live, np.array([stories[playing[r]][place[r]] for r in live], dtype=np.int64))
            for row, value in zip(live, found, strict=True):
                logp[playing[row]].append(value)
            place[live] += 1


def test_neither_the_order_of_a_batch_nor_its_size_matters(world):
    briefs, stories = written(world, 20, 1)
    rows = np.arange(len(stories))
    whole = books(world.read(briefs, stories), rows)
    order = np.random.default_rng(0).permutation(len(stories))
    mixed = books(world.read([briefs[i] for i in order], [stories[i] for i in order]), np.argsort(order))
    halves = [books(world.read(briefs[i : i + 5], stories[i : i + 5]), np.arange(5)) for i in range(0, 20, 5)]
    assert mixed == whole
    assert {axis: [x for part in halves for x in part[axis]] for axis in AXES} == whole


def test_a_row_forgets_its_story_when_it_begins_again(world):
    briefs, stories = written(world, 8, 2)
    truth, rows = world.read(briefs, stories), np.arange(8)
    truth.begin(rows, briefs)
    fresh = world.truth(8)
    fresh.begin(rows, briefs)
    assert books(truth, rows) == books(fresh, rows)
    for book in vars(truth._worlds), vars(truth._reader):
        twin = vars(fresh._worlds) if book is vars(truth._worlds) else vars(fresh._reader)
        for name, value in book.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, twin[name], name)
