"""Constraints as masks: what each rule means by definition, what gives way, and that all environments agree on it."""

import dataclasses
import functools
import json

import gymnasium as gym
import numpy as np
import pytest
from envs_samples import BUDGET, IdSum, SameParity, small_task
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from textgym.envs.constraints import Restrictions, open_constraint
from textgym.envs.nucleus import likeliest
from textgym.envs.textgen import TextGenEnv
from textgym.envs.vector import TextGenVectorEnv
from textgym.errors import TaskError, UnknownNameError
from textgym.testing.envs import compare_vector_envs
from textgym.text.bpe import BPETokenizer
from textgym.text.pieces import CharTokenizer
from textgym.types import Constraint

UNK, SEP, EOS = 0, 1, 2


class Falling:
    """A language model whose every next token has half the probability of the one before, from the last token on."""

    signature = "falling"

    def __init__(self, vocab_size):
        self.vocab_size, self.asked = vocab_size, 0

    def next_logprobs(self, prompts, completions):
        self.asked += len(prompts)
        last = np.array(
            [[*prompt, SEP, *completion][-1] for prompt, completion in zip(prompts, completions, strict=True)]
        )
        ranks = (np.arange(self.vocab_size) - last[:, None]) % self.vocab_size
        return -np.log(2) * ranks - np.log(2 - 2.0 ** (1 - self.vocab_size))

    def logprobs(self, prompts, completions):
        raise NotImplementedError


LETTERS = CharTokenizer(("a", "b", "c", " ", "é"))
BYTES = BPETokenizer((("a", "b"), ("ab", "a"), ("c", "ab"), ("Ã", "©"), ("b", "Ã")))
BYTE_IDS = [index for index in range(3, BYTES.vocab_size) if set(BYTES.token_bytes(index)) <= {*"abc é".encode()}]

rules = st.fixed_dictionaries(
    {},
    optional={
        "min_new_tokens": st.integers(0, 6),
        "no_repeat_ngram": st.integers(0, 4),
        "banned": st.lists(st.sampled_from(["a", "ab", "aba", "ca", "bé", "é", "  ", "abcab", 4]), max_size=4),
    },
)


def prefix(prompt: list[int], completion: list[int], width: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row = [*prompt, SEP, *completion]
    tokens = np.full((1, width), -1, np.int32)
    tokens[0, : len(row)] = row
    return tokens, np.array([len(row)]), np.array([len(prompt) + 1])


def allowed_by_definition(tokenizer, given, completion: list[int], token: int) -> bool:
    """Whether the rules say of the text with one more token that it may be."""
    if token in (UNK, SEP) or token in given.get("banned", ()):
        return False
    if token == EOS:
        return len(completion) >= given.get("min_new_tokens", 0)
    n = given.get("no_repeat_ngram", 0)
    after = [*completion, token]
    ngrams = [tuple(after[i : i + n]) for i in range(len(after) - n + 1)]
    if n and len(ngrams) > 0 and ngrams[-1] in ngrams[:-1]:
        return False
    before, whole = (b"".join(map(tokenizer.token_bytes, ids)) for ids in (completion, after))
    texts = [item.encode() for item in given.get("banned", ()) if isinstance(item, str)]
    return not any(text in whole[max(0, len(before) - len(text) + 1) :] for text in texts)  # that ends in the token


@pytest.mark.parametrize(("tokenizer", "ids"), [(LETTERS, range(3, 8)), (BYTES, BYTE_IDS)], ids=["char", "bpe"])
@given(given_rules=rules, data=st.data())
@settings(max_examples=80, deadline=None)
def test_the_mask_is_what_the_rules_say(tokenizer, ids, given_rules, data):
    completion = data.draw(st.lists(st.sampled_from(ids), max_size=12))
    prompt = data.draw(st.lists(st.sampled_from(ids), max_size=3))
    mask = Restrictions(tokenizer, **given_rules).mask(*prefix(prompt, completion))[0]
    tried = [UNK, SEP, EOS, *ids]
    expected = [allowed_by_definition(tokenizer, given_rules, completion, token) for token in tried]
    if not mask[3:].any():
        expected[EOS] = True
    assert mask[tried].tolist() == expected


@given(given_rules=rules, seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_who_follows_the_mask_breaks_no_rule(letters_folder, given_rules, seed):
    given_rules = {**given_rules, "banned": [item for item in given_rules.get("banned", ()) if "é" not in str(item)]}
    envs = TextGenVectorEnv(
        6, task=small_task(letters_folder), reward=IdSum(), constraint=given_rules, autoreset_mode="SameStep"
    )
    rng = np.random.default_rng(seed)
    envs.reset(seed=seed)
    for _ in range(12):
        actions = [rng.choice(np.flatnonzero(mask)) for mask in envs.action_masks()]
        *_, infos = envs.step(np.array(actions))
        final = infos.get("final_info", {})
        for row in np.flatnonzero(final.get("_text", ())):
            ids, text = final["completion"][row], final["text"][row]
            assert final["illegal_actions"][row] == 0
            assert not any(item in text for item in given_rules["banned"] if isinstance(item, str))
            n = given_rules.get("no_repeat_ngram", 0)
            grams = [ids[i : i + n] for i in range(len(ids) - n + 1)] if n else []
            assert len(grams) == len(set(grams))
            assert ids[-1] != EOS or len(ids) > given_rules.get("min_new_tokens", 0)


VARIANTS = {
    "all": {"min_new_tokens": 3, "no_repeat_ngram": 2, "banned": ["a b", "c"]},
    "one": {"no_repeat_ngram": 1},
    "none left": {"banned": [*range(3, 12)], "min_new_tokens": 2},
    "object": SameParity(12),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_vector_rows_equal_single_envs_under_constraints(task, variant, mode):
    make = functools.partial(TextGenEnv, task=task, reward=IdSum(), mask_in_info=True, constraint=VARIANTS[variant])
    vector = TextGenVectorEnv(
        4, task=task, reward=IdSum(), mask_in_info=True, constraint=VARIANTS[variant], autoreset_mode=mode
    )
    actions = np.random.default_rng(1).integers(0, 12, (40, 4))
    compare_vector_envs(vector, SyncVectorEnv([make] * 4, autoreset_mode=mode), actions)


@pytest.mark.parametrize("variant", VARIANTS)
def test_illegal_actions_are_those_that_the_mask_had_forbidden(task, variant):
    env = TextGenEnv(task=task, reward=IdSum(), constraint=VARIANTS[variant])
    rng = np.random.default_rng(2)
    for _ in range(30):
        env.reset()
        illegal, over = 0, False
        while not over:
            action = int(rng.integers(2, 12))
            illegal += not env.action_masks()[action]
            *_, over, _, info = env.step(action)
        assert info["illegal_actions"] == illegal


def test_a_chosen_prompt_is_no_part_of_what_may_not_be_said_again(task):
    env = TextGenEnv(task=task, reward=IdSum(), constraint={"no_repeat_ngram": 1, "banned": ["ba"]})
    env.reset(options={"prompt": "a b"})
    a, b, blank = (int(task.tokenizer.encode(text)[0]) for text in ("a", "b", " "))
    assert env.action_masks()[[a, b, blank]].all()
    env.step(a)
    assert not env.action_masks()[a] and env.action_masks()[b]


def test_a_text_is_banned_however_it_is_cut_into_tokens():
    a, b, c, ab, aba, first = (int(BYTES.encode(text)[0]) for text in ("a", "b", "c", "ab", "aba", "é"))
    mask = Restrictions(BYTES, banned=["caba"]).mask(*prefix([], [c, ab]))[0]
    assert not mask[a] and mask[b]
    assert not mask[aba], "a token that goes on behind the banned text completes it too"
    assert not Restrictions(BYTES, banned=["é"]).vocabulary[first], "the whole character"
    lead = next(i for i in range(BYTES.vocab_size) if BYTES.token_bytes(i) == b"\xc3")
    rest = next(i for i in range(BYTES.vocab_size) if BYTES.token_bytes(i) == b"\xa9")
    assert not Restrictions(BYTES, banned=["é"]).mask(*prefix([], [lead]))[0, rest]


def test_eos_is_allowed_from_the_least_number_of_tokens_on():
    masks = [Restrictions(LETTERS, min_new_tokens=3).mask(*prefix([3], [3] * n))[0] for n in range(5)]
    assert [bool(mask[EOS]) for mask in masks] == [False, False, False, True, True]


def test_no_three_tokens_come_twice():
    a, b, c = 3, 4, 5
    masks = Restrictions(LETTERS, no_repeat_ngram=3)
    assert not masks.mask(*prefix([], [a, b, c, a, b]))[0][c]
    assert masks.mask(*prefix([], [a, b, c, a, c]))[0][3:].all(), "a c is new"
    assert not masks.mask(*prefix([], [a, a, a]))[0][a], "occurrences may overlap"
    assert masks.mask(*prefix([a, b, c], [a, b]))[0][c], "the prompt is not counted"


def test_eos_gives_way_where_nothing_else_is_left():
    only = CharTokenizer(("a",))
    constraint = Restrictions(only, min_new_tokens=9, no_repeat_ngram=1)
    assert np.flatnonzero(constraint.mask(*prefix([], []))[0]).tolist() == [3]
    assert np.flatnonzero(constraint.mask(*prefix([], [3]))[0]).tolist() == [EOS]


class OnlyLetters:
    """A constraint of a user's that never lets a text end."""

    def mask(self, tokens, lengths, starts):
        return np.tile(np.arange(12) > EOS, (len(tokens), 1))


def test_eos_does_not_give_way_to_a_constraint_of_the_tasks_own(letters_folder):
    strict = small_task(letters_folder, constraint=OnlyLetters())
    env = TextGenEnv(task=strict, reward=IdSum(), constraint={"banned": [*range(3, 12)]})
    env.reset(seed=0)
    with pytest.raises(TaskError, match="leaves no token"):
        env.action_masks()
    both = TextGenEnv(task=strict, reward=IdSum(), constraint={"banned": [*range(4, 12)]})
    both.reset(seed=0)
    assert np.flatnonzero(both.action_masks()).tolist() == [3]


def test_a_mapping_serialises_and_makes_the_same_env(letters_folder):
    given_rules = {"min_new_tokens": 2, "banned": ["a"]}
    path = letters_folder / "letters.txt"
    small_task(letters_folder)
    env = gym.make("TextGen-v0", corpus=str(path), tokenizer="char", reward="length", constraint=given_rules)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert json.loads(env.spec.to_json())["kwargs"]["constraint"] == given_rules
    env.reset(seed=0), again.reset(seed=0)
    masks = [e.get_wrapper_attr("action_masks")() for e in (env, again)]
    assert np.array_equal(*masks) and not masks[0][EOS]


@pytest.mark.parametrize(
    ("given_rules", "said"),
    [
        ({"min_tokens": 3}, "Did you mean 'min_new_tokens'"),
        ({"min_new_tokens": 99}, f"more than the budget, max_new_tokens={BUDGET}"),
        ({"no_repeat_ngram": -1}, "at least 0"),
        ({"no_repeat_ngram": True}, "at least 0"),
        ({"banned": "foo"}, "a list of texts and token ids"),
        ({"banned": [""]}, "neither a text nor a token id from 0 to 7"),
        ({"banned": [8]}, "neither a text nor a token id from 0 to 7"),
        ({"banned": [EOS]}, "8 is EOS".replace("8", str(EOS))),
        ({"banned": [SEP]}, "reserved"),
        ({"allowed": "foo"}, "a list of texts and token ids"),
        ({"allowed": []}, "leaves no token but EOS"),
        ({"allowed": ["a"], "banned": ["a"]}, "leaves no token but EOS"),
        ({"allowed": ["ax"]}, "'ax' holds what the vocabulary has no token for"),
        ({"allowed": [SEP]}, "allowed: 1 is reserved"),
        ({"top_p": 0.0}, "top_p=0.0: a probability"),
        ({"top_p": 1.5, "under": Falling(8)}, "top_p=1.5: a probability"),
        ({"top_p": 0.5}, "top_p below 1 and the model"),
        ({"under": Falling(8)}, "top_p below 1 and the model"),
        ({"top_p": 0.5, "under": Falling(9)}, "a vocabulary of 9 tokens, the task's tokenizer has 8"),
        ("min_new_tokens(3)", "give a mapping of min_new_tokens, no_repeat_ngram, banned, allowed, top_p, under"),
    ],
)
def test_rules_that_cannot_hold_are_refused(given_rules, said):
    with pytest.raises(TaskError) as error:
        open_constraint(given_rules, LETTERS, BUDGET)
    assert said in str(error.value)


def test_restrictions_are_a_constraint_like_any_other():
    assert isinstance(Restrictions(LETTERS), Constraint)
    assert open_constraint(None, LETTERS, 5) is None


# --- allowed vocabulary, and what is likely under a model -----------------------------------------------------------


def test_only_allowed_tokens_and_eos_may_come():
    mask = Restrictions(LETTERS, allowed=["ab", 6]).mask(*prefix([7], []))[0]
    assert np.flatnonzero(mask).tolist() == [EOS, 3, 4, 6]
    both = Restrictions(LETTERS, allowed=["abc"], banned=["b"], min_new_tokens=1, no_repeat_ngram=1)
    assert np.flatnonzero(both.mask(*prefix([], []))[0]).tolist() == [3, 5]
    assert np.flatnonzero(both.mask(*prefix([], [3, 5]))[0]).tolist() == [EOS]


def test_the_likeliest_tokens_that_together_have_p_may_come():
    def after(top_p, **others):
        mask = Restrictions(LETTERS, top_p=top_p, under=Falling(8), **others).mask(*prefix([5], [3]))[0]
        return np.flatnonzero(mask).tolist()

    # After 3 the model gives 3, 4, 5, ... 1/2, 1/4, 1/8, ... of what is allowed: 3-7 and EOS, which is the last of all.
    assert after(0.4) == [3] and after(0.5) == [3] and after(0.6) == [3, 4] and after(0.8) == [3, 4, 5]
    assert after(0.999) == [EOS, 3, 4, 5, 6, 7]
    assert after(0.5, banned=[3]) == [4] and after(0.6, banned=[3]) == [4, 5]
    assert after(0.5, no_repeat_ngram=1) == [4], "of what the other rules leave"
    assert after(0.5, allowed=[7]) == [7]
    assert after(1.0 - 1e-9, allowed=[7], min_new_tokens=9) == [7]


@given(
    st.lists(st.floats(-20, 0), min_size=6, max_size=6),
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.floats(0.01, 0.999),
)
def test_a_nucleus_is_the_smallest_set_that_reaches_p(logprobs, mask, top_p):
    weights = np.exp(logprobs) * mask
    kept = likeliest(np.array([logprobs]), np.array([mask]), top_p)[0]
    assert kept.any() == any(mask) and not (kept & ~np.array(mask)).any()
    if any(mask):
        share = weights[kept].sum() / weights.sum()
        assert share >= top_p - 1e-9
        assert (share - weights[kept].min() / weights.sum()) < top_p + 1e-9
        assert weights[kept].min() >= weights[~kept].max(initial=0)


def test_a_nucleus_asks_its_model_of_each_prefix_once(letters_folder):
    model = Falling(12)
    envs = TextGenVectorEnv(
        3,
        task=small_task(letters_folder),
        reward=IdSum(),
        constraint={"top_p": 0.7, "under": model},
        autoreset_mode="SameStep",
    )
    rng = np.random.default_rng(0)
    envs.reset(seed=0)
    texts = set()
    for _ in range(15):
        masks = envs.action_masks()
        assert masks.any(axis=1).all() and masks.sum() < 3 * 9
        *_, infos = envs.step(np.array([rng.choice(np.flatnonzero(mask)) for mask in masks]))
        final = infos.get("final_info", {})
        assert not np.any(final.get("illegal_actions", 0))
        texts |= set(final.get("text", ()))
    assert len(texts) > 2 and model.asked <= 45


def test_a_token_outside_the_nucleus_is_illegal_at_its_place(letters_folder):
    rules_of_two = {"top_p": 0.5, "under": Falling(12), "min_new_tokens": 3}
    env = TextGenEnv(task=small_task(letters_folder), reward=IdSum(), constraint=rules_of_two)
    env.reset(seed=0)
    chosen, over, info = [], False, {}
    while not over:
        legal = np.flatnonzero(env.action_masks())
        chosen.append(int(legal[0]) if len(chosen) != 1 else int(3 + (legal[0] == 3)))
        _, _, over, _, info = env.step(chosen[-1])
    assert info["illegal_actions"] == 1


def test_two_models_narrow_one_after_the_other_and_leave_a_token(letters_folder):
    task = small_task(letters_folder)
    task = dataclasses.replace(task, constraint=Restrictions(task.tokenizer, top_p=0.8, under=Falling(12)))
    env = TextGenEnv(task=task, reward=IdSum(), constraint={"top_p": 0.5, "under": Falling(12), "banned": ["a"]})
    env.reset(seed=0)
    assert env.action_masks().sum() == 1


def test_a_model_by_name_serialises(letters_folder):
    given_rules = {"top_p": 0.6, "under": "ngram:2", "allowed": ["abc"]}
    small_task(letters_folder)
    path = str(letters_folder / "letters.txt")
    env = gym.make("TextGen-v0", corpus=path, tokenizer="char", reward="length", constraint=given_rules)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    env.reset(seed=0), again.reset(seed=0)
    masks = [e.get_wrapper_attr("action_masks")() for e in (env, again)]
    assert np.array_equal(*masks) and 0 < masks[0].sum() < 4
    with pytest.raises(UnknownNameError, match="ngrm"):
        gym.make("TextGen-v0", corpus=path, tokenizer="char", constraint={"top_p": 0.6, "under": "ngrm:2"})
