from dataclasses import replace

from attributor.jobs.job import Polarity, Visualization, VisualizationKind
from attributor.rendering.subject import Subject, facts, title

VIEW = Visualization(VisualizationKind.HEATMAP)


def test_the_title_says_which_signs_are_shown(digit: Subject) -> None:
    assert title(VIEW, digit) == 'Effects on the score of "3"'
    assert title(replace(VIEW, polarity=Polarity.POSITIVE), digit) == 'What raises the score of "3"'
    assert title(replace(VIEW, polarity=Polarity.NEGATIVE), digit) == 'What lowers the score of "3"'


def test_the_facts_leave_out_a_share_of_no_difference(digit: Subject) -> None:
    assert facts(digit)[1] == "completeness error 0.00211 (0.24 % of the difference)"
    assert facts(replace(digit, relative_completeness_error=None))[1] == "completeness error 0.00211"
