"""The oracle again, in plain Python: every text is played in the environment, one at a time."""

import math

import numpy as np

import textgym


def texts_of(env):
    """Every legal text with what the environment paid for each of its tokens: {ids: rewards}."""
    found = {}
    waiting = [()]
    while waiting:
        prefix = waiting.pop()
        play(env, prefix)
        for action in np.flatnonzero(env.action_masks()).tolist():
            rewards, over = play(env, (*prefix, action))
            if over:
                found[(*prefix, action)] = rewards
            else:
                waiting.append((*prefix, action))
    return found


def play(env, actions):
    """What each token was paid, and whether the text is over."""
    env.reset()
    rewards, over = [], False
    for action in actions:
        _, reward, over, _, _ = env.step(action)
        rewards.append(reward)
    return rewards, over


def prefixes_of(texts):
    """Every unfinished prefix, shortest first."""
    return sorted({text[:length] for text in texts for length in range(len(text))}, key=lambda p: (len(p), p))


def actions_after(texts, prefix):
    """The next tokens that some text has there."""
    return sorted({text[len(prefix)] for text in texts if text[: len(prefix)] == prefix})


def discounted(rewards, gamma):
    return sum(reward * gamma**step for step, reward in enumerate(rewards))


def chances_of(texts, next_logprob):
    """How likely a policy writes each text; `next_logprob(prefix, action, actions)`."""
    prefixes = prefixes_of(texts)
    legal = {prefix: actions_after(texts, prefix) for prefix in prefixes}
    return {
        text: math.exp(sum(next_logprob(text[:i], text[i], legal[text[:i]]) for i in range(len(text))))
        for text in texts
    }


def uniform(prefix, action, actions):
    return -math.log(len(actions))


def bigram(task):
    """The world's language, given that the next token is legal."""
    table = task.world.language.table

    def logprob(prefix, action, actions):
        row = table[prefix[-1] if prefix else task.tokenizer.sep_id]
        return row[action] - math.log(sum(math.exp(row[other]) for other in actions))

    return logprob


def best_return(texts, gamma):
    """V* by the largest return at gamma; deterministic dynamics need no more."""
    return max(discounted(rewards, gamma) for rewards in texts.values())


def micro_env(world="bigram", vocab_size=3, horizon=4, **settings):
    return textgym.TextGenMicroEnv(world=world, vocab_size=vocab_size, horizon=horizon, **settings)
