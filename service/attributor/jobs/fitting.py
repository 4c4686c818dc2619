"""What fits what: kinds of baseline and kinds of input. Asked before a job is queued, and where it is computed."""

from collections.abc import Mapping

from attributor.jobs.explanation import BaselineKind
from attributor.jobs.model import InputKind

_NUMBERS = frozenset({InputKind.TABULAR, InputKind.IMAGE, InputKind.TENSOR})
_IMAGE = frozenset({InputKind.IMAGE})
_TOKENS = frozenset({InputKind.TOKENS})
_ALL = frozenset(InputKind)

#: The kinds of input that a kind of baseline fits.
FITS: Mapping[BaselineKind, frozenset[InputKind]] = {
    BaselineKind.NAMED: _ALL,
    BaselineKind.TENSOR: _ALL,
    BaselineKind.ZERO: _NUMBERS,
    BaselineKind.CONSTANT: _NUMBERS,
    BaselineKind.BLACK: _IMAGE,
    BaselineKind.WHITE: _IMAGE,
    BaselineKind.BLUR: _IMAGE,
    BaselineKind.UNIFORM: _NUMBERS,
    BaselineKind.GAUSSIAN: _NUMBERS,
    BaselineKind.MEAN: _NUMBERS,
    BaselineKind.MEDIAN: _NUMBERS,
    BaselineKind.MODE: _ALL,
    BaselineKind.REFERENCE: _ALL,
    BaselineKind.OTHER_CLASS: _NUMBERS,
    BaselineKind.PAD: _TOKENS,
    BaselineKind.MASK: _TOKENS,
    BaselineKind.ZERO_EMBEDDING: _TOKENS,
}

#: Every sampled order of the features costs a forward pass for each of them. Ours: a 64 x 64 picture; beyond it twenty
#: orders are 80,000 passes, and the answer is noise at that price.
MOST_SHAPLEY_FEATURES = 4096
