"""TOML that nobody vouches for: bounded before it is read."""

import time

import pytest
from attributor.errors import BundleError
from attributor.registry.toml_text import MOST_KEY_PARTS, read_toml


def dotted(part: str, count: int) -> str:
    return ".".join([part] * count)


@pytest.mark.parametrize("part", ["a", '"!"', "' . '", '"\\""', '""', 'a . "b"'])
@pytest.mark.parametrize("form", ["{} = 1", "[{}]", "[[{}]]", "x = {{ {} = 1 }}", 'x = [ "y", {{ {} = 1 }} ]'])
def test_a_key_of_too_many_parts_is_refused_in_no_time_however_it_is_written(part, form):
    began = time.perf_counter()
    with pytest.raises(BundleError, match=f"a key has more than {MOST_KEY_PARTS} parts"):
        read_toml(form.format(dotted(part, 40_000)).encode(), "It")
    assert time.perf_counter() - began < 2, "tomllib alone takes minutes"


@pytest.mark.parametrize(
    "before",
    ['x = """ \\""" y"""', 'x = """y"""""', "x = '''y'''''", '# """ it\'s', 'x = \'"""\'', "x = \"'''\"", 'x = ""'],
)
def test_no_string_or_comment_hides_a_key_behind_it(before):
    text = f"{before}\n{dotted('a', MOST_KEY_PARTS + 1)} = 1"
    with pytest.raises(BundleError, match="a key has more than"):
        read_toml(text.encode(), "It")


def test_as_many_parts_as_are_taken_are_taken_and_dots_in_strings_are_none():
    dots = dotted("a", 1000)
    text = (
        f'{dotted("a", MOST_KEY_PARTS)} = 1\nb = "{dots}"\nc = \'{dots}\'\nd = """\n{dots}\n""" # {dots}\n"{dots}" = 2'
    )
    found = read_toml(text.encode(), "It")
    assert (found["b"], found["c"], found["d"], found[dots]) == (dots, dots, f"{dots}\n", 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a = ", "It is not TOML: "),
        (b'a = "\xff"', "It is not UTF-8: "),
        (b"a = " + b"[" * 200_000, "nested too deeply"),
        (b"a = " + b"{a=" * 200_000, "nested too deeply"),
        (b"a = " + b"1" * 5000, "an integer has more than 64 bits"),
        (b"a = " + b"1" * 4000, "an integer has more than 64 bits"),
        (b"[[a]]\nb = [{ c = 0x" + b"f" * 5000 + b" }]", "an integer has more than 64 bits"),
    ],
)
def test_whatever_is_wrong_is_one_kind_of_error_that_repeats_nothing_long(data, words):
    with pytest.raises(BundleError, match=words) as caught:
        read_toml(data, "It")
    assert len(caught.value.detail) < 200


def test_integers_of_64_bits_are_taken():
    assert read_toml(b"a = [9223372036854775807, -9223372036854775808]", "It") == {"a": [2**63 - 1, -(2**63)]}
