"""Tables to the text of a manifest: the little of TOML that a manifest needs, laid out as people write it.

Knows TOML's syntax. Knows nothing of what the tables mean.
"""

import json
from collections.abc import Mapping, Sequence

#: A table of a manifest: its keys, and their values as TOML takes them; tables within lie in one line.
Table = Mapping[str, object]


def manifest_text(
    head: Table, arrays: Mapping[str, Sequence[Table]], tables: Mapping[str, Table], named: Mapping[str, Table]
) -> str:
    """`head`: the keys before all tables. `arrays`: [[name]] each. `tables`: [name]. `named`: [name], after all."""
    parts = [lines(head)]
    parts += [f"[{name}]\n{lines(table)}" for name, table in tables.items()]
    parts += [f"[[{name}]]\n{lines(table)}" for name, each in arrays.items() for table in each]
    parts += [f"[{name}]\n{lines(table)}" for name, table in named.items()]
    return "\n".join(parts)


def lines(table: Table) -> str:
    """`key = value`, one a line."""
    return "".join(f"{key} = {value_text(value)}\n" for key, value in table.items())


def value_text(value: object) -> str:
    """JSON is TOML, but for objects and for characters that TOML wants escaped or as they are."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(str(key))} = {value_text(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _key(text: str) -> str:
    bare = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if bare else value_text(text)
