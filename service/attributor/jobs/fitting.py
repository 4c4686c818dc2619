"""What fits what: kinds of baseline and of input, scales and kinds of output, methods and models.

Asked before a job is queued, and where it is computed.
"""

from collections.abc import Mapping

from attributor.jobs.explanation import BaselineKind, Method
from attributor.jobs.model import Framework, InputKind, ModelInfo, OutputKind, OutputScale

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

_OF_LOGITS = (OutputScale.PROBABILITY, OutputScale.LOGIT, OutputScale.LOG_PROBABILITY)

#: The scales on which a kind of output can be read, the default first.
SCALES: Mapping[OutputKind, tuple[OutputScale, ...]] = {
    OutputKind.CLASSES: _OF_LOGITS,
    OutputKind.SEQUENCE: _OF_LOGITS,
    # Of a softmax the logits are known but for a constant, of a vote there are none.
    OutputKind.PROBABILITIES: (OutputScale.PROBABILITY, OutputScale.LOG_PROBABILITY),
    OutputKind.VALUES: (OutputScale.VALUE,),
}

#: The scale that reads a kind of output as the model returns it.
AS_RETURNED: Mapping[OutputKind, OutputScale] = {
    OutputKind.CLASSES: OutputScale.LOGIT,
    OutputKind.SEQUENCE: OutputScale.LOGIT,
    OutputKind.PROBABILITIES: OutputScale.PROBABILITY,
    OutputKind.VALUES: OutputScale.VALUE,
}

#: The methods that ask for scores only, and so serve a model that cannot be differentiated.
WITHOUT_GRADIENTS = frozenset({Method.SHAPLEY, Method.OCCLUSION, Method.KERNEL_SHAP, Method.LIME})

#: The methods with rules of their own for modules of known classes, which hand the output back layer by layer.
PROPAGATING = frozenset({Method.DEEP_LIFT, Method.LRP, Method.GUIDED_BACKPROPAGATION, Method.DECONVOLUTION})

#: What holds no such modules, whatever it computes.
_WITHOUT_KNOWN_MODULES: Mapping[Framework, str] = {
    Framework.ONNX: "an ONNX graph",
    Framework.TORCH_EXPORT: "an exported program",
}

#: Every sampled order of the features costs a forward pass for each of them. Ours: a 64 x 64 picture; beyond it twenty
#: orders are 80,000 passes, and the answer is noise at that price.
MOST_SHAPLEY_FEATURES = 4096


def cannot_explain(method: Method, info: ModelInfo) -> str | None:
    """Why a method cannot explain such a model, wherever it runs; None if its manifest says nothing against it."""
    if not info.gradients and method not in WITHOUT_GRADIENTS:
        return f"{method} needs gradients, and this model has none; it can be explained by " + ", ".join(
            other for other in Method if other in WITHOUT_GRADIENTS
        )
    if method not in PROPAGATING:
        return None
    others = "occlusion, kernel_shap and lime only ask for scores"
    tokens = [spec.name for spec in info.inputs if spec.attributed and spec.kind is InputKind.TOKENS]
    if tokens:
        return f"{method} needs gradients of the inputs, and '{tokens[0]}' holds token ids; {others}"
    if info.output.kind is OutputKind.PROBABILITIES:
        return (
            f"{method} explains a model's logits, and this model gives probabilities, of which no logits are known; "
            f"{others}"
        )
    if what := _WITHOUT_KNOWN_MODULES.get(info.framework):
        return (
            f"{method} has rules for torch's own modules, and {what} holds none of them, so that it would be a plain "
            f"gradient; {others}, and integrated_gradients takes any model"
        )
    return None
