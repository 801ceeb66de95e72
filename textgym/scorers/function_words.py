"""Informativeness as the share of words that mean something by themselves: neither articles nor the like.

The words are closed classes of our own listing: English articles, pronouns, prepositions, conjunctions, auxiliaries and
particles, with their contractions; in Chinese text the characters that mostly serve as such.
"""

from dataclasses import dataclass

import numpy as np

from textgym.scorers.base import Scorer, register
from textgym.text.sentences import words
from textgym.types import Scores, TextBatch

ENGLISH = frozenset(
    """
    a an the this that these those some any no every each either neither both all such another other i me my
    mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
    herself it its itself they them their theirs themselves one ones who whom whose which what whoever whatever
    whichever someone somebody something anyone anybody anything everyone everybody everything nobody nothing
    none about above across after against along among around as at before behind below beneath beside besides
    between beyond by down during except for from in inside into like near of off on onto out outside over past
    per since than through throughout till to toward towards under until up upon via with within without and but
    or nor so yet because although though while whereas if unless whether when whenever where wherever why how
    be am is are was were been being have has had having do does did doing done will would shall should can
    could may might must ought cannot not very too also just only even then there here again once still already
    else ever never now i'm you're he's she's it's we're they're i've you've we've they've i'd you'd he'd she'd
    it'd we'd they'd i'll you'll he'll she'll it'll we'll they'll that's there's here's what's who's where's
    how's let's isn't aren't wasn't weren't haven't hasn't hadn't don't doesn't didn't won't wouldn't shan't
    shouldn't can't couldn't mayn't mightn't mustn't
    """.split()  # noqa: SIM905 - a list of 250 strings is no way to read words
)
"""English function words, in lower case."""

CHINESE = frozenset(
    "的地得了着过之乎者也矣焉哉兮吗呢吧啊呀么嘛们我你您他她它咱其此这那哪谁何某和与及或而且但却虽若则因故所以于"
    "在从向往对把被让给由自至到为是有不没未无非莫勿又再还都也就才只很太更最个些每各"
)
"""Chinese function characters, modern and classical."""


@register("content_words")
@dataclass(frozen=True)
class ContentWords(Scorer):
    """Share of the words of a completion that are no function words; lexical density.

    Words are lower-cased; each Chinese or Japanese character is one. A completion without a word scores 0.
    """

    formula = "|content words| / |words|"
    source = "Ure 1971, lexical density"
    range = (0.0, 1.0)
    unit = "share of words"
    prefix_scorable = True

    def score(self, batch: TextBatch) -> Scores:
        """Scores B completions: values (B,)."""
        return Scores(np.array([_density(words(text)) for text in batch.completion_texts], dtype=np.float64))


def _density(found: list[str]) -> float:
    content = sum(word not in ENGLISH and word not in CHINESE for word in found)
    return content / max(len(found), 1)
