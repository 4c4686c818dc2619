"""Requests that differ in their inputs only: what was found of one is not found out again for the next.

To hold a body's words against a model takes longer than to read its numbers, and a client sends the same words again
and again. Kept are jobs that were found to be sound, by what was sent beside the inputs. Knows no HTTP, no store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from attributor.inputs.together import decode_tensors
from attributor.jobs.explanation import COMPARATORS
from attributor.jobs.job import JobSpec
from attributor.jobs.model import ModelInfo

#: Of the words of a request, characters. Ours: more are tensors, and no two alike.
_LONGEST = 2_000
#: Jobs kept, the oldest given up first. Ours: as many kinds of questions are rarely asked at a time.
_MOST = 256
#: Inputs of such a job. Ours: more take so long to read that they are read in a thread.
_MOST_INPUTS = 256


@dataclass(frozen=True, slots=True)
class Words:
    """What a request says beside its inputs, with its tenant; the inputs, and the model's name."""

    key: tuple[str, str, int]
    items: list[Any]
    model: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What makes a job of its `inputs`. The model's description is kept, so that it is told apart from a newer one."""

    info: ModelInfo
    job: Callable[..., JobSpec]


class KnownAsks:
    """What was found of requests, by their words."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], _Known] = {}

    def knows(self, words: Words) -> bool:
        """Whether a request of these words, and with as many inputs, was found to be sound."""
        return words.key in self._known

    def job(self, words: Words, info: ModelInfo) -> JobSpec | None:
        """The job of a request of known words; None where the model is another by now, or the inputs are not all
        tensors that are as they should be in every respect."""
        known = self._known.get(words.key)
        if known is None or known.info is not info or any(type(item) is not dict for item in words.items):
            return None
        tensors = decode_tensors(info.inputs, words.items)
        return None if tensors is None else known.job(inputs=tuple(tensors))

    def keep(self, words: Words, spec: JobSpec, info: ModelInfo) -> None:
        """Keep what was found, if it hangs on nothing but the words and the model's description. The caller knows that
        chance has no part in it."""
        explanation = spec.explanation
        of_workers = explanation.layer or explanation.saturation or explanation.method in COMPARATORS
        of_inputs = spec.given or info.sources or any(each.variable for each in spec.declared)
        if of_workers or of_inputs or len(spec.inputs) > _MOST_INPUTS:
            return
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[words.key] = _Known(info, _without_inputs(spec))


def _without_inputs(spec: JobSpec) -> Callable[..., JobSpec]:
    """What `dataclasses.replace` does with other inputs, in half the time."""
    return partial(JobSpec, **{each.name: getattr(spec, each.name) for each in fields(spec) if each.name != "inputs"})


def words_of(document: object, tenant: str) -> Words | None:
    """None of what is no such request, or has long words."""
    if not isinstance(document, Mapping):
        return None
    items, model = document.get("inputs"), document.get("model")
    if type(items) is not list or not items or type(model) is not str:
        return None
    words = {name: value for name, value in document.items() if name != "inputs"}
    if _size(words) > _LONGEST:
        return None
    # As Python writes it: that tells NaN from null, 1 from 1.0, and a text from what it looks like.
    return Words((tenant, repr(words), len(items)), items, model)


def _size(value: object) -> int:
    """About how long a value is as JSON, or longer than _LONGEST; it is not walked through for longer than that."""
    if isinstance(value, str):
        return len(value) + 2
    if not isinstance(value, list | dict):
        return 8
    total = 8 * len(value)
    if total <= _LONGEST:
        for name in value if isinstance(value, dict) else ():
            total += len(name)
        for each in value.values() if isinstance(value, dict) else value:
            total += _size(each)
            if total > _LONGEST:
                break
    return total
