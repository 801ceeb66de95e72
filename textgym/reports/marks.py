"""Marks on an explained story: what stands under a word where something is wrong, and how likely each word is."""

from dataclasses import dataclass

from textgym.reports.labels import Labels
from textgym.worlds.story.explanation import Fault, FaultKind, Sentence

LEVELS = (-1.0, -2.5, -4.5)
"""log P in nats below which a word is less likely, unlikely, very unlikely."""


@dataclass(frozen=True)
class Mark:
    """What is wrong at one word.

    Attributes:
        token: which of the sentence, from 0.
        text: in a few words.
        faults: at this word.
    """

    token: int
    text: str
    faults: tuple[Fault, ...]

    @property
    def severe(self) -> bool:
        """Anything but redundancy."""
        return any(fault.kind is not FaultKind.REDUNDANT for fault in self.faults)


def marks(sentence: Sentence, labels: Labels) -> list[Mark]:
    """One mark for each word of a sentence at which something is wrong, in their order."""
    places = sorted({fault.token for fault in sentence.faults})
    found = []
    for place in places:
        faults = tuple(fault for fault in sentence.faults if fault.token == place)
        found.append(Mark(place, _short(sentence.number, faults, labels), faults))
    return found


def _short(own: int, faults: tuple[Fault, ...], labels: Labels) -> str:
    objects: list[str] = []
    culprits = sorted({c for f in faults if f.kind is FaultKind.CONTRADICTION for c in f.culprits})
    if own in culprits:
        objects.append(labels.itself)
        culprits.remove(own)
    if culprits:
        form = labels.one if len(culprits) == 1 else labels.several
        objects.append(form.format(labels.and_.join(map(str, culprits))))
    if any(fault.kind is FaultKind.UNFAITHFUL for fault in faults):
        objects.append(labels.of_brief)
    said = [labels.contradicts.format(labels.and_.join(objects))] if objects else []
    said += [labels.faults[fault.kind] for fault in faults if fault.kind in labels.faults]
    return ", ".join(said)


def level(logprob: float) -> int:
    """How unlikely a word is, 0 to 3."""
    return sum(logprob < bound for bound in LEVELS)
