"""Does a scorer measure what it says? Against people, on real text, and at what speed.

Minimal pairs, human ratings, shuffled stories, labelled reviews, references of data-to-text and answers of arithmetic;
a row for each data set and scorer, with a bootstrap interval and what a scorer that knows nothing reaches.

    python -m textgym.benchmarks.scorers --data FOLDER --out scorers.jsonl
    python -m textgym.benchmarks.scorers --show docs/scorer-validation.jsonl
"""
