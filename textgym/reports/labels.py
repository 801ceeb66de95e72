"""What an explained story is labelled with, in the language of the story."""

from collections.abc import Mapping
from dataclasses import dataclass

from textgym.worlds.story.explanation import FaultKind


@dataclass(frozen=True)
class Labels:
    """The words around a story.

    Attributes:
        title: of a page.
        brief: of the prompt.
        story: of the story.
        empty: in place of an empty story.
        fluency: of log P.
        per_token: its unit.
        lowest: mean log P, the least likely word, its log P, with {}.
        new: of facts that a sentence made a reader believe more.
        misled: of facts that it made a reader believe less.
        changed: of what changed in the world.
        wrong: of faults.
        means: between a pronoun and a name.
        facts: of the table of facts.
        fact: a column of it.
        belief: a column of it: what a reader believes in the end.
        word: a column of the words of a sentence.
        axes: of the table of totals.
        shades: what shades mean.
        levels: of fluency, from likely to unlikely.
        clean: of a story without a fault.
        planted: of the same with a planted contradiction.
        numbered: a sentence by its number, with {}.
        kinds: types of sentences.
        axis: name and meaning of every total.
        faults: short marks; contradictions apart.
        contradicts: what a sentence contradicts, with {}.
        itself: as an object of `contradicts`.
        of_brief: as an object of `contradicts`.
        one: one sentence as an object of `contradicts`, with {}.
        several: several ones, with {}.
        and_: between objects.
    """

    title: str
    brief: str
    story: str
    empty: str
    fluency: str
    per_token: str
    lowest: str
    new: str
    misled: str
    changed: str
    wrong: str
    means: str
    facts: str
    fact: str
    belief: str
    word: str
    axes: str
    shades: str
    levels: tuple[str, str, str, str]
    clean: str
    planted: str
    numbered: str
    kinds: Mapping[str, str]
    axis: Mapping[str, tuple[str, str]]
    faults: Mapping[FaultKind, str]
    contradicts: str
    itself: str
    of_brief: str
    one: str
    several: str
    and_: str


ENGLISH = Labels(
    title="A story and its truth",
    brief="brief",
    story="story",
    empty="(empty)",
    fluency="fluency",
    per_token="nats a token",
    lowest="{:.2f} nats a token, least likely: {} {:.2f}",
    new="new",
    misled="misled",
    changed="changed",
    wrong="wrong",
    means=" is ",
    facts="What the brief says, and what a reader believes in the end",
    fact="fact",
    belief="belief",
    word="word",
    axes="The truth in numbers",
    shades="Shades: how likely a word is, given the brief and the story so far",
    levels=("likely", "less likely", "unlikely", "very unlikely"),
    clean="clean story",
    planted="word planted",
    numbered="sentence {}",
    kinds={
        "is_in": "is in",
        "colour": "colour",
        "object_at": "object at",
        "has": "has",
        "go": "go",
        "take": "take",
        "drop": "drop",
        "give": "give",
        "meet": "meet",
        "filler": "filler",
        "end": "end",
        "unparsed": "no sentence",
        "unfinished": "unfinished",
    },
    axis={
        "contradictions": ("contradictions", "share of sentences"),
        "unfaithfulness": ("unfaithful", "share of sentences"),
        "unparsed": ("unparsable", "share of sentences"),
        "redundancy": ("redundant", "share of sentences"),
        "accuracy": ("reader accuracy", "0 silence, 1 all told"),
        "bits": ("bits", "the worlds narrowed down by"),
        "changes": ("changes", "of the brief's world"),
        "fluency": ("fluency", "log P, nats a token"),
        "quality": ("gold quality", "0 to 1"),
    },
    faults={
        FaultKind.REDUNDANT: "nothing new",
        FaultKind.UNKNOWN_WORD: "no such word",
        FaultKind.NOT_IN_BRIEF: "not in the brief",
        FaultKind.NO_SENTENCE: "no sentence",
        FaultKind.UNFINISHED: "breaks off",
        FaultKind.AFTER_END: "after the end",
    },
    contradicts="contradicts {}",
    itself="itself",
    of_brief="the brief",
    one="sentence {}",
    several="sentences {}",
    and_=" and ",
)

CHINESE = Labels(
    title="一个故事与它的真相",
    brief="提要",
    story="故事",
    empty="（空）",
    fluency="流畅",
    per_token="奈特每词",
    lowest="{:.2f} 奈特每词，最少见：{} {:.2f}",
    new="新知",
    misled="误导",
    changed="变化",
    wrong="错误",
    means="即",
    facts="提要所说，以及读者最后所信",
    fact="事实",
    belief="信念",
    word="词",
    axes="真相的数字",
    shades="深浅：按提要和前文，一个词有多常见",
    levels=("常见", "较少见", "少见", "很少见"),
    clean="干净的故事",
    planted="改了一个词",
    numbered="第 {} 句",
    kinds={
        "is_in": "在",
        "colour": "颜色",
        "object_at": "放在",
        "has": "有",
        "go": "去",
        "take": "拿",
        "drop": "放下",
        "give": "给",
        "meet": "遇见",
        "filler": "闲话",
        "end": "完",
        "unparsed": "不成句",
        "unfinished": "未完",
    },
    axis={
        "contradictions": ("矛盾", "占句子的比例"),
        "unfaithfulness": ("不忠实", "占句子的比例"),
        "unparsed": ("不成句", "占句子的比例"),
        "redundancy": ("多余", "占句子的比例"),
        "accuracy": ("读者所知", "沉默为 0，全部说出为 1"),
        "bits": ("比特", "可能的世界缩小了多少"),
        "changes": ("变化", "提要的世界变化的次数"),
        "fluency": ("流畅", "log P，奈特每词"),
        "quality": ("真实质量", "0 到 1"),
    },
    faults={
        FaultKind.REDUNDANT: "没有新内容",
        FaultKind.UNKNOWN_WORD: "没有这个词",
        FaultKind.NOT_IN_BRIEF: "提要里没有",
        FaultKind.NO_SENTENCE: "不成句",
        FaultKind.UNFINISHED: "没有说完",
        FaultKind.AFTER_END: "故事已完",
    },
    contradicts="与{}矛盾",
    itself="自己",
    of_brief="提要",
    one="第 {} 句",
    several="第 {} 句",
    and_="和",
)


def labels(language: str) -> Labels:
    """The labels of a language, "en" or "zh"."""
    return CHINESE if language == "zh" else ENGLISH
