"""What is remembered of objects, and of which."""

from attributor.jobs.once import once


def counted(**limits):
    asked = []

    def length(subject):
        asked.append(subject)
        return len(subject)

    return once(length, **limits), asked


def test_an_object_is_asked_once_and_an_equal_one_by_itself():
    length, asked = counted()
    one, other = [1, 2], [1, 2]
    assert [length(one), length(one), length(other)] == [2, 2, 2]
    assert [id(each) for each in asked] == [id(one), id(other)]


def test_an_object_that_is_gone_gives_its_answer_to_no_other():
    length, asked = counted()
    assert [length([0] * n) for n in range(50)] == list(range(50))
    assert len(asked) == 50


def test_only_so_many_are_kept():
    length, asked = counted(most=3)
    subjects = [[0] * n for n in range(4)]
    assert [length(each) for each in subjects] == [0, 1, 2, 3]
    assert length(subjects[0]) == 0
    assert len(asked) == 5
