from dataclasses import replace

from attributor.jobs.job import Polarity, Visualization, VisualizationKind
from attributor.rendering.subject import Scale, Subject, common_payload, facts, title

VIEW = Visualization(VisualizationKind.HEATMAP)


def test_the_title_says_which_signs_are_shown(digit: Subject) -> None:
    assert title(VIEW, digit) == 'Effects on the score of "3"'
    assert title(replace(VIEW, polarity=Polarity.POSITIVE), digit) == 'What raises the score of "3"'
    assert title(replace(VIEW, polarity=Polarity.NEGATIVE), digit) == 'What lowers the score of "3"'


def test_the_facts_say_why_nothing_adds_up(digit: Subject) -> None:
    bare = replace(
        digit,
        baseline=None,
        baseline_score=None,
        completeness_error=None,
        relative_completeness_error=None,
        completeness_reason="a gradient is local",
    )
    assert facts(bare) == ("score 0.9821", "no completeness: a gradient is local")
    payload = common_payload(VIEW, bare, Scale(1.0, 99.0))
    assert (payload["baseline_score"], payload["completeness_error"]) == (None, None)
    assert payload["completeness_reason"] == "a gradient is local"


def test_the_facts_leave_out_a_share_of_no_difference(digit: Subject) -> None:
    assert facts(digit)[1] == "completeness error 0.00211 (0.24 % of the difference)"
    assert facts(replace(digit, relative_completeness_error=None))[1] == "completeness error 0.00211"
