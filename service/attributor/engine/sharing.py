"""How the memory that a job's vectors may take is shared out: among its inputs under way, and their noisy copies.

Knows the port and what was asked; no tensors.
"""

from attributor.engine.precise import reserved
from attributor.engine.route import Route
from attributor.engine.work import Memory
from attributor.errors import AttributorError
from attributor.jobs.explanation import Explanation, Method, Target
from attributor.jobs.fitting import AS_RETURNED
from attributor.jobs.job import JobKind, JobSpec
from attributor.jobs.keeping import kept, n_baselines
from attributor.jobs.model import ModelInfo, Tensors
from attributor.model_port import GradientModel, RouteSpec

#: Inputs of a job under way at a time, at most. Ours: their first rounds fill the largest passes (1,024 points).
MOST_UNDER_WAY = 256


def path_spec(explanation: Explanation, example: Tensors, targets: tuple[Target, ...], n_paths: int) -> RouteSpec:
    """The route on which so many paths to an example are integrated."""
    saturation = explanation.saturation
    observed = saturation.layers if saturation and not explanation.smoothing else None
    bare = not (explanation.gamma or explanation.layer or explanation.interior_alphas or saturation)
    return RouteSpec(example, targets, explanation.layer, observed, explanation.precision, bare and n_paths == 1)


def share_out(job_bytes: int, job_id: str, spec: JobSpec, info: ModelInfo, model: GradientModel) -> Memory:
    """As many inputs, and of each as many copies, as fit with the nodes of a usual answer; at least one of each.

    What one takes is asked of the model, by a route at the largest input that is closed again: of a layer, or behind an
    affine prefix, only the model knows it.
    """
    smoothing = spec.explanation.smoothing
    inputs, copies = min(len(spec.inputs), MOST_UNDER_WAY), smoothing.samples if smoothing else 1
    if inputs * copies == 1:
        return Memory(job_bytes)  # all of it: nothing is to be shared, so nothing need be asked
    try:
        one_bytes = _one_bytes(job_id, spec, info, model)
    except AttributorError:
        return Memory(job_bytes)  # the inputs say in their turn what is wrong with them
    fit = max(1, job_bytes // max(1, one_bytes))
    at_once = min(copies, fit)
    return Memory(job_bytes, min(inputs, fit // at_once), at_once)


def _one_bytes(job_id: str, spec: JobSpec, info: ModelInfo, model: GradientModel) -> int:
    """Of one copy of the largest input. Raises what opening a route raises."""
    attributed = [each.name for each in info.inputs if each.attributed]
    example = max(spec.inputs, key=lambda each: sum(each[name].size for name in attributed))
    explanation = spec.explanation
    predicts = spec.kind is JobKind.PREDICTION
    targets = (Target(scale=AS_RETURNED[info.output.kind]),) if predicts else explanation.targets
    paths = explanation.samples if explanation.method is Method.EXPECTED_GRADIENTS else n_baselines(explanation)
    route = Route(f"{job_id}/size", model, path_spec(explanation, example, targets, paths)).open()
    try:
        vector, vertex = model.vector_bytes(route.id), model.vertex_bytes(route.id)
    finally:
        route.close()
    if predicts:
        return vertex
    if explanation.method is Method.SHAPLEY:
        return vertex * model.max_points
    needed = kept(explanation, spec.quadrature)
    beside = needed.beside + reserved(explanation.precision, seals=True)
    return vector * (needed.usual + beside) + vertex * needed.vertices
