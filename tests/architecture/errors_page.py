"""docs/errors.md from the table of codes. Run it after a change: `python tests/architecture/errors_page.py`."""

from pathlib import Path

from attributor.api.problem_codes import SECTIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"

HEAD = """\
# Errors

Every error of the native routes is an RFC 9457 problem document, `application/problem+json`:

```json
{
  "type": "/problems/invalid_input",
  "title": "An input value cannot be used",
  "status": 422,
  "code": "invalid_input",
  "detail": "inputs.0.features.mean radius: must be finite, not nan",
  "errors": [{ "field": "inputs.0.features.mean radius", "detail": "must be finite, not nan" }]
}
```

Switch on `code`: codes are stable, sentences are not. `errors` names each fault by its dotted path in the body, or by
the name of a header or a query parameter (the first 20 of them); it is absent where there is no one place to point at.
`GET /problems` lists the codes, `GET /problems/{code}` explains one.

An answer of a client error (4xx) is the same the second time: change the request. After a 503, wait for the seconds in
`Retry-After` and send the same request again; with an `Idempotency-Key` that never makes a second job.

Written by `tests/architecture/errors_page.py`; a test compares.
"""

COLUMNS = "| code | status | what it means | what to do |\n|---|---|---|---|\n"
#: It never reaches HTTP, and has no status.
FOOT = """
## On the command line only

| code | what it means | what to do |
|---|---|---|
| `bundle_error` | A bundle on disk is wrong: its manifest, its files, or what the model does. | Follow the message; \
`attributor models check` goes through all bundles. |
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for section in SECTIONS:
        parts.append(f"\n## {section.heading}\n\n" + (f"{section.about}\n\n" if section.about else "") + COLUMNS)
        for code, each in section.codes.items():
            parts.append(f"| `{code}` | {each.status} | {each.means} | {each.advice} |\n")
    return "".join(parts) + FOOT


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
