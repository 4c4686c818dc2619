import tomllib

from attributor.registry.scaffold.manifest_text import manifest_text, value_text


def test_whatever_a_person_writes_comes_back_from_toml():
    values = {
        "text": 'quote " backslash \\ line\nend \x7f é 😀',
        "numbers": [1, -2.5, 1e-05, 1e22],
        "table": {"mean radius": 1.5, "plain-key_1": ["a"], "": {}},
        "yes": True,
    }
    text = manifest_text(
        values, {"inputs": [{"a": 1}, {"a": 2}]}, {"sources.text": {"kind": "x"}}, {"output": {"n": 1}}
    )
    assert tomllib.loads(text) == {
        **values,
        "inputs": [{"a": 1}, {"a": 2}],
        "sources": {"text": {"kind": "x"}},
        "output": {"n": 1},
    }


def test_an_empty_table_is_one():
    assert value_text({}) == "{}"
