"""Bad texts that might have a high gold quality: known tricks, and an automatic search."""

from itertools import pairwise

import numpy as np

from textgym.worlds.story.events import Kind


class Tricks:
    """Texts about a brief that are no stories, as rows of ids without EOS.

    Args:
        world: whose words are used.
    """

    def __init__(self, world):
        self.world, self.lexicon = world, world.lexicon
        self.stop = world.lexicon.id_of(world.lexicon.stop)
        templates = world.lexicon.templates
        filler = next(text for text in templates[Kind.FILLER] if "<" not in text)
        self.filler = [*world.lexicon.ids(filler.split()).tolist(), self.stop]
        self.end = [*world.lexicon.ids(templates[Kind.END][0].split()).tolist(), self.stop]

    def sentences(self, ids):
        """A story cut behind its full stops."""
        cut = [0, *(np.flatnonzero(np.asarray(ids) == self.stop) + 1).tolist()]
        return [list(ids[a:b]) for a, b in pairwise(cut)]

    def texts(self, brief, story, rng):
        """{trick: ids}; `story` is a clean story about the brief."""
        copy, told = self.world.briefs.encode(brief).tolist(), self.sentences(story.tolist()[:-1])
        comma, bar = self.lexicon.id_of(self.lexicon.comma), self.lexicon.id_of(self.lexicon.bar)
        stopped = [self.stop if i in (comma, bar) else i for i in copy] + [self.stop]
        facts, joined = told[:-1][:4], [i for sentence in told for i in sentence]
        lies = self.sentences(self.world.generator().story(self.world.briefs.draw(rng), rng).tolist()[:-1])
        lying = self._about(brief, rng)
        size = self.lexicon.tokenizer.vocab_size
        return {
            "nothing": [],
            "the end": self.end,
            "the brief": copy,
            "the brief four times": copy * 4,
            "the brief with full stops": stopped,
            "the brief with full stops four times": stopped * 4,
            "the brief before a story": copy + joined,
            "the brief with full stops before a story": stopped + joined,
            "the brief behind a story": joined + copy,
            "one sentence ten times": told[0] * 10,
            "the first sentence six times and then the others": told[0] * 5 + joined,
            "every sentence twice": [i for sentence in told for i in sentence * 2],
            "a story twice": joined[: -len(self.end)] * 2 + self.end,
            "filler": self.filler * 10,
            "filler around a few facts": self.filler * 5 + [i for s in facts for i in s] + self.filler * 5,
            "a few facts and filler in turns": [i for s in facts for i in (*s, *self.filler)] + self.end,
            "words of a story in any order": rng.permutation(joined).tolist(),
            "sentences of a story in any order": [i for n in rng.permutation(len(told)) for i in told[n]],
            "any words": rng.integers(3, size, size=60).tolist(),
            "a story about another brief": [i for sentence in lies for i in sentence],
            "lies about this brief": lying,
            "a story without full stops": [i for i in joined if i != self.stop],
            "a story and its end again and again": joined + self.end * 10,
        }

    def _about(self, brief, rng):
        """A clean story of the same things in another situation."""
        other = self.world.briefs.draw(rng)
        swapped = type(brief)(brief.people, brief.places, brief.objects, other.colours, other.at, other.where)
        return self.world.generator().story(swapped, rng).tolist()[:-1]


class Search:
    """Evolution of texts under a length limit: the best half of each brief's texts stays, edited copies join it.

    Args:
        world: whose gold is attacked.
        brief: of all texts.
        limit: tokens of the longest text.
        seed: of all draws.
        population: texts.
    """

    def __init__(self, world, brief, limit, seed, population=64):
        self.world, self.brief, self.limit, self.size = world, brief, limit, population
        self.rng, self.tricks = np.random.default_rng(seed), Tricks(world)
        own = [world.briefs.encode(brief), *(self._story()[:-1] for _ in range(4))]
        self.words = np.unique(np.concatenate(own))
        self.pool = [s for ids in own[1:] for s in self.tricks.sentences(ids)] + [own[0].tolist()]
        self.texts = [self._grown() for _ in range(population)]
        self.scores = self._scored(self.texts)

    def _story(self):
        return self.world.generator(noise=0.3).story(self.brief, self.rng)

    def _grown(self):
        text = []
        while self.rng.random() < 0.8:
            text += self.pool[self.rng.integers(len(self.pool))]
        return text[: self.limit]

    def _scored(self, texts):
        truth = self.world.read([self.brief] * len(texts), [np.array(text, dtype=np.int32) for text in texts])
        return truth.quality(np.arange(len(texts)))

    def step(self):
        """One generation."""
        children = [self._edited(self.texts[self.rng.integers(self.size // 2)]) for _ in range(self.size)]
        children[:2] = [self._grown(), self._grown()]  # restarts
        texts = self.texts + children
        scores = np.concatenate([self.scores, self._scored(children)])
        order = np.lexsort(([len(text) for text in texts], -scores))[: self.size]
        self.texts, self.scores = [texts[i] for i in order], scores[order]

    def best(self, generations):
        """(quality, ids) of the best text found."""
        for _ in range(generations):
            self.step()
        return float(self.scores[0]), self.texts[0]

    def _edited(self, text):
        text = list(text)
        for _ in range(self.rng.integers(1, 4)):
            text = self._edit(text)
        return text[: self.limit]

    def _edit(self, text):
        rng, told = self.rng, self.tricks.sentences(text)
        at, word = rng.integers(len(text) + 1), int(self.words[rng.integers(len(self.words))])
        new, place = self.pool[rng.integers(len(self.pool))], rng.integers(len(told) + 1)
        match rng.integers(9):
            case 0:
                return [*text[:at], word, *text[at:]]
            case 1:
                return [*text[:at], *text[at + 1 :]]
            case 2:
                return [*text[:at], word, *text[at + 1 :]]
            case 3 if len(text) > 1:
                i, j = rng.integers(len(text), size=2)
                text[i], text[j] = text[j], text[i]
                return text
            case 4 | 5:
                told.insert(place, new)
            case 6 if told:
                told.pop(place % len(told))
            case 7 if told:
                told[place % len(told)] = new
            case 8 if len(told) > 1:
                i, j = rng.integers(len(told), size=2)
                told[i], told[j] = told[j], told[i]
        return [i for sentence in told for i in sentence]
