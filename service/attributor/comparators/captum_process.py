"""Comparator over child processes: one job each, which computes with Captum and ends. Loads neither torch nor Captum.

A process of its own, because these methods hook themselves into a model, cannot be stopped half-way, and may take
minutes: the worker keeps its heartbeat, and cancels by killing. It costs the start of torch and Captum, about 2.5 s.
"""

import asyncio
import importlib.util
import logging
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attributor.children import dies_with_parent
from attributor.comparators.request import Request
from attributor.errors import InternalError, ModelError, ModelNotReady, UnsupportedByModel
from attributor.jobs.codec import decode
from attributor.jobs.job import Failure, JobSpec
from attributor.jobs.result import AttributionResult
from attributor.model_port import ModelProvider

log = logging.getLogger(__name__)

#: -P: what lies in the folder where the worker was started must not stand in for a module.
COMMAND = (sys.executable, "-P", "-m", "attributor.comparators.child")
#: What the methods need beside torch: Captum, and for KernelSHAP and LIME its regressions.
REQUIRED = ("captum", "sklearn")
#: Of a crashed child's last words, so much reaches the client. Ours: a sentence, not a dump.
LAST_WORDS_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class ComparatorPolicy:
    """How children are run; units and reasons stand in `settings.WorkerSettings`."""

    timeout_s: float
    most_at_once: int
    device: str
    threads: int
    allow_torch_export: bool = False


class CaptumProcess:
    """A Comparator. `folder_of` finds the bundle of `name@version`; `models` says whether it passed its proof.

    Call `explain` from one event loop, in its main thread: a child ends with the thread that started it.
    """

    def __init__(
        self,
        models: ModelProvider,
        folder_of: Callable[[str], Path],
        policy: ComparatorPolicy,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._models = models
        self._folder_of = folder_of
        self._policy = policy
        self._command = command
        self._turns = asyncio.Semaphore(policy.most_at_once)

    async def explain(self, spec: JobSpec) -> AttributionResult | Failure:
        """The job's answer, computed in a child that is killed and waited for when this is cancelled.

        Waits for its turn; the time limit counts from there.
        """
        if refused := self._refused(spec):
            return refused
        policy = self._policy
        folder = self._folder_of(spec.ref).resolve()
        request = Request(folder, spec, policy.device, policy.threads, policy.allow_torch_export)
        async with self._turns:
            try:
                async with asyncio.timeout(self._policy.timeout_s):
                    return await self._ask_child(spec, request.pack())
            except TimeoutError:
                return Failure(
                    ModelError.code,
                    f"{spec.explanation.method} took longer than the {self._policy.timeout_s:g} s that comparators get "
                    "(worker.comparator_timeout_s); ask for fewer samples or larger windows",
                )

    def _refused(self, spec: JobSpec) -> Failure | None:
        missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
        if missing:
            return Failure(
                UnsupportedByModel.code,
                f"method {spec.explanation.method} is computed by Captum, which this worker lacks "
                f"({', '.join(missing)}): its operator can add it with pip install 'attributor[comparators]' "
                "(in a checkout: '.[comparators]')",
            )
        try:
            proven = self._models.info(spec.ref)  # that it is not in memory here does not matter
        except ModelNotReady as error:
            return Failure(error.code, error.detail)
        if proven.digest != spec.digest:
            return Failure(
                ModelNotReady.code, f"the bundle of {spec.ref} was changed since this was asked for; send it again"
            )
        return None

    async def _ask_child(self, spec: JobSpec, message: bytes) -> AttributionResult | Failure:
        child = await asyncio.create_subprocess_exec(
            # A session of its own, so that a signal for the worker's group is none for it (uvloop knows no group).
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            preexec_fn=dies_with_parent(),
        )
        log.info("%s of %s runs in process %d", spec.explanation.method, spec.ref, child.pid)
        try:
            answer, words = await child.communicate(message)
        finally:
            await _end(child)
        if child.returncode != 0:
            return _crashed(spec, child, words)
        try:
            found = decode(answer, object)
        except ValueError:
            found = None
        if isinstance(found, Failure) and words:
            log.warning("in process %d: %s", child.pid, words.decode(errors="replace").strip())
        if isinstance(found, AttributionResult | Failure):
            return found
        log.error("the comparators' process wrote %d bytes that are no answer", len(answer))
        return Failure(InternalError.code, "the comparators' process gave no answer; the worker's log has the details")


async def _end(child: Process) -> None:
    """Kill it if it lives, and wait until it is gone, so that no zombie stays."""
    if child.returncode is None:
        child.kill()
    await child.wait()


def _crashed(spec: JobSpec, child: Process, words: bytes) -> Failure:
    """What is known of a child that ended without an answer."""
    text = words.decode(errors="replace").strip()
    log.error("the process of %s ended with status %s:\n%s", spec.explanation.method, child.returncode, text)
    status = child.returncode or 0
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    last = (text.splitlines() or ["it said nothing"])[-1][:LAST_WORDS_CHARACTERS]
    return Failure(ModelError.code, f"the process that computed {spec.explanation.method} {how}: {last}")
