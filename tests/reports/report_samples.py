"""A report that looks like a real one, of any size, and one whose every text would do harm if it could."""

import numpy as np

from textgym.reports.blocks import Column, Interval, Mark, Notice, Picture, Report, Section, Stories, Story, Table
from textgym.reports.charts import Axis, Series, bars, lines, radar

DESIGNS = ("gold.quality", "default", "0.7*fluency + 0.3*coherence", "mean log p", "sum of log p", "adjacent cosine")
DESIGNS += ("mean surprisal", "keyword coverage", "distinct-2", "entity grid", "preference", "fluency, clipped")
AXES = ("quality", "coherence", "faithfulness", "grammar", "novelty", "information")
SCORES = tuple(f"gold/{axis}" for axis in AXES) + tuple(
    f"score/{name}"
    for name in (*DESIGNS[2:], "length", "rep-4", "distinct-3", "slor", "sentiment", "chrf", "perplexity")
)
STORY = (
    "sam was in the kitchen . he took the blue knife and went to the mill . ann was in the barn . she met sam in the "
)
STORY += "mill . the knife was in the barn . ann was sad and the day was long . he gave her the knife . the end ."
PROMPT = "kitchen barn mill tower | sam kitchen , ann barn , blue knife sam , red cup mill , grey coin barn"
WAYS = ("sampled", "greedy", "best of 16")
EVIL = (
    "<script>document.title='run'</script> & \"quoted\" 'too' \u202eleft \x07 \ud800 \u05e9\u05dc\u05d5\u05dd </style>"
)


def sample_report(designs: int = 6, prompts: int = 2, ways: int = 2, pictures: int = 3, columns: int = 12) -> Report:
    """A report on the first so many of 12 designs, all texts about so many prompts, so many columns in its matrix."""
    rng, names = np.random.default_rng(0), DESIGNS[:designs]
    sections = [
        _leaderboard(names, rng),
        _matrix(names, SCORES[:columns], rng),
        _curves(names, pictures, rng),
        Section("alarms", "Alarms", ["What left the range of the reference."], _notices()),
        _stories(names, prompts, WAYS[:ways], rng),
    ]
    summary = [
        "gold.quality is best: 0.61 [0.52, 0.70] of the way from the reference to the corpus, at 7.9 nats.",
        "mean log p was hacked: its own score rose by 2.1 sd, gold quality fell by 0.8 sd.",
        "One checkpoint and three seeds: intervals hold for this checkpoint, not for others.",
    ]
    return Report("Which reward should I use?", summary, sections, {"configuration": "3f1c9a2b", "seeds": "3"})


def evil_report() -> Report:
    """All texts of it are hostile."""
    tokens = [" ", EVIL, "\n", "\u05e9\u05dc\u05d5\u05dd", "</span>", "\x1b[31m", "' onfocus='x", "", "\ud83d"]
    credit = [0.5, -1, float("nan"), 0, 1e9, -1e-9, 0, 0, 0]
    story = Story(EVIL, tokens, credit, {EVIL: credit}, [Mark(1, EVIL), Mark(99, EVIL, False)], {EVIL: 1.0})
    blocks = [
        Table(EVIL, [Column(EVIL, about=EVIL), Column(EVIL, scaled=True)], [[EVIL, 1.5]], {(0, 1): EVIL}, [EVIL]),
        Picture(EVIL, lines([Series(EVIL, [0, 1], [0, 1])], Axis(EVIL), Axis(EVIL), hlines={EVIL: 0.5}), EVIL),
        Stories(EVIL, [story, Story(EVIL, [], [])]),
        Notice("bad", EVIL),
    ]
    return Report(EVIL, [EVIL], [Section("evil", EVIL, [EVIL], blocks)], {EVIL: EVIL})


def _leaderboard(names, rng):
    columns = [
        Column("design"),
        Column("gold", 2, "interquartile mean of gold quality; 0 = the reference, 1 = the corpus; higher is better"),
        Column("KL", 1, "nats a text"),
        Column("runs", 0),
        Column("P(better)", 2, "than the reference, on the same brief"),
        Column("verdict"),
    ]
    means = np.sort(rng.normal(0.2, 0.3, len(names)))[::-1]
    rows = [
        [name, _interval(mean, 0.09), rng.uniform(2, 14), 1500 + place, None if place == 3 else rng.uniform(), verdict]
        for place, (name, mean) in enumerate(zip(names, means, strict=True))
        for verdict in ["better" if mean > 0.1 else "worse" if mean < -0.1 else "not different"]
    ]
    table = Table("Gold quality on held-out briefs, sampled.", columns, rows, {(3, 5): "hacked"}, ["Five seeds each."])
    chart = bars(names, [_interval(mean, 0.09) for mean in means], Axis("gold quality"), vlines={"reference": 0})
    picture = Picture("Gold quality with 95% intervals.", chart, f"{names[0]} leads at {means[0]:.2f}.")
    text = ["The designs by the gold quality of what their agents write. Intervals resample runs within a checkpoint."]
    return Section("leaderboard", "Leaderboard", text, [table, picture])


def _matrix(names, scores, rng):
    columns = [Column("trained on")] + [Column(name, 2, "change in sd of the reference", True) for name in scores]
    rows = [[name, *(_interval(rng.normal(0, 1.2), 0.5) for _ in scores)] for name in names]
    marks = {(place, place + 6): "itself" for place in range(min(len(names), len(scores) - 6))}
    table = Table("What a reward does to every score.", columns, rows, marks)
    return Section("matrix", "What else changed", ["Rows were trained on, columns were measured."], [table])


def _curves(names, pictures, rng):
    kl = np.array([0, 0.5, 1.3, 3, 6, 11, 19])
    series = [
        Series(name, kl, gold, gold - 0.08, gold + 0.08)
        for name in names[:6]
        for gold in [np.sqrt(kl) * (0.4 - rng.uniform(0, 0.15) * np.sqrt(kl))]
    ]
    drawn = [
        lines(series, Axis("KL, nats a text", sqrt=True), Axis("gold quality"), hlines={"reference": 0}),
        radar(AXES, {name: rng.uniform(0, 1, len(AXES)) for name in names}, apart=True),
    ]
    blocks = [
        Picture(f"Gold over KL, picture {number + 1}.", drawn[number % 2], "Gold rises, then falls.")
        for number in range(pictures)
    ]
    return Section("curves", "Gold over KL", ["What each nat buys."], blocks)


def _notices():
    return [
        Notice("bad", "mean log p: stories are 61% shorter than the reference's."),
        Notice("warning", "distinct-2: 12% of texts do not end."),
        Notice("note", "Filler is counted by sentence."),
        Notice("good", "gold.quality: nothing out of range."),
    ]


def _stories(names, prompts, ways, rng):
    blocks = []
    for number in range(prompts):
        stories = []
        for name in names:
            for way in ways:
                words = STORY.split()[: int(rng.integers(25, 56))]
                tokens = [words[0], *(f" {word}" for word in words[1:])]
                parts = {part: rng.normal(0, 0.3, len(tokens)) for part in ("fluency", "coherence")}
                credit = sum(parts.values()) * (rng.uniform(size=len(tokens)) < 0.6)
                marks = [Mark(20, "contradicts sentence 2 and the brief"), Mark(6, "nothing new", False)]
                totals = {"gold": float(rng.uniform()), "reward": float(sum(credit))}
                stories.append(Story(f"{name}, {way}", tokens, list(credit), parts, marks[: number + 1], totals))
        blocks.append(Stories(f"{PROMPT} ({number + 1})", stories))
    return Section("stories", "The same prompts, every reward", ["Tokens are coloured by what they earned."], blocks)


def _interval(value, half):
    return Interval(float(value), float(value - half), float(value + half))
