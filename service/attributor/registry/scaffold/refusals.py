"""A new bundle that failed its proof: whether a manifest could mend it, and what to do if none can.

Knows what a proof reports, and the names of its checks. Proves nothing.
"""

from attributor.jobs.fitting import WITHOUT_GRADIENTS
from attributor.jobs.model import Framework, InputKind, ModelInfo, ModelReport

#: What a trial of a graph finds before anything that a manifest says is put to the proof.
_OF_THE_GRAPH = ("imported", "onnxruntime", "finite_differences")
#: Checks that only the model's own code can pass or fail.
_OF_THE_CODE = ("eval_mode", "deterministic", "rows_independent")

_EXPORT = (
    "Export it again, in eval mode (model.eval() before torch.onnx.export) and with operators that docs/onnx.md lists"
)


def is_of_the_model(info: ModelInfo, report: ModelReport) -> bool:
    """Whether a failed report is about the model itself, so that nothing that a manifest says could mend it."""
    if info.framework is Framework.ONNX:
        return any(check not in report.checks for check in _OF_THE_GRAPH[: None if info.gradients else 1])
    return not report.checks or any(report.checks.get(check) == report.reason for check in _OF_THE_CODE)


def what_instead(info: ModelInfo, report: ModelReport) -> str:
    """What to do in place of an edit of the manifest."""
    if info.framework is Framework.TORCH:
        return "Change the code, and run the command again."
    if info.framework is not Framework.ONNX:
        return "Save the folder again with save_pretrained, or export the model to ONNX."
    tokens = any(spec.attributed and spec.kind is InputKind.TOKENS for spec in info.inputs)
    runs = "onnxruntime" in report.checks or "onnxruntime, which does not load it" not in (report.reason or "")
    if not info.gradients or tokens or not runs:
        return f"{_EXPORT}."
    methods = ", ".join(sorted(WITHOUT_GRADIENTS))
    return (
        f"{_EXPORT}; or add --no-gradients: onnxruntime runs it then, for methods that perturb its input ({methods})."
    )
