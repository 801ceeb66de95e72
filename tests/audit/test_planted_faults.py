"""check_reward finds every planted fault, by the question that is meant to find it, and passes every sound reward."""

import pytest
from textgym.benchmarks.detectors.planted import ALL, FAULTY, SOUND, Planted

from textgym.audit import check_reward


def test_there_are_at_least_twenty_faults_and_eight_sound_rewards():
    assert len(FAULTY) >= 20
    assert len(SOUND) >= 8
    assert len({planted.name for planted in ALL}) == len(ALL)


@pytest.mark.parametrize("planted", FAULTY, ids=lambda planted: planted.name)
def test_a_planted_fault_fails_the_question_that_is_about_it(planted: Planted):
    report = check_reward(planted.arena(), exploit=False, **planted.settings)
    failed = {finding.check for finding in report.failures}
    assert failed & set(planted.checks), f"{planted.name}: only {failed} failed\n{report}"


@pytest.mark.parametrize("planted", SOUND, ids=lambda planted: planted.name)
def test_a_sound_reward_passes(planted: Planted):
    report = check_reward(planted.arena(), exploit=False, **planted.settings)
    assert report.passed, str(report)


def test_classes_taken_by_name_agree_with_judged_pairs():
    from textgym.benchmarks.detectors.planted import PAIRS, positive_class

    report = check_reward(Planted("", positive_class, "story").arena(), exploit=False, **PAIRS)
    assert [finding.status for finding in report.found("pairs")] == ["ok"]
