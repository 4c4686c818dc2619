"""A trial of an ONNX bundle in a process that may die: whatever the file does there, the worker lives.

Knows processes and bundles. The child (`trial_child`) knows torch, onnx and onnxruntime.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from attributor.children import dies_with_parent
from attributor.registry.catalog import Bundle

log = logging.getLogger(__name__)

#: -P: what lies in the folder where the worker was started must not stand in for a module.
COMMAND = (sys.executable, "-P", "-m", "attributor.registry.proof.trial_child")
_LAST_WORDS_CHARACTERS = 300
#: Of the child's errors, read from their end. Ours: some tens of lines for the log.
_LAST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a trial may use. `memory_bytes`: of address space, with torch's own two to four GB."""

    timeout_s: float = 120.0
    memory_bytes: int = 16 * 2**30


#: As the settings have them.
DEFAULT_LIMITS = TrialLimits()


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found. `problem`: why the bundle must not be loaded; None if it may."""

    checks: Mapping[str, str]
    problem: str | None


def try_out(bundle: Bundle, limits: TrialLimits, command: tuple[str, ...] = COMMAND) -> Trial:
    """Loads and proves the very files of a bundle in a child: those of its digest, or none. Never raises for what they
    do.

    On Linux the child also ends with the thread that called this.
    """
    arguments = (str(bundle.folder.resolve()), bundle.info.digest, str(limits.memory_bytes), str(limits.timeout_s))
    # A folder with nothing in it: a library that opens a file by a name in the graph finds none.
    with tempfile.TemporaryDirectory() as nowhere, tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            cwd=nowhere,
            process_group=0,
            preexec_fn=dies_with_parent(),
        )
        try:
            answer, _ = child.communicate(timeout=limits.timeout_s)
        except subprocess.TimeoutExpired:
            return _ended(
                f"The file took longer than {limits.timeout_s:g} s to load and prove (worker.trial_timeout_s).", child
            )
        finally:
            if child.poll() is None:
                child.kill()
                child.communicate()
        return _read(child, answer, words, limits)


def _read(child: subprocess.Popen[bytes], answer: bytes, words: IO[bytes], limits: TrialLimits) -> Trial:
    if child.returncode == 0:
        try:
            found = json.loads(answer)
            return Trial(dict(found["checks"]), found["problem"])
        except (ValueError, KeyError, TypeError):
            return _ended("The process that tried the file gave no answer.", child)
    words.seek(max(0, words.seek(0, os.SEEK_END) - _LAST_BYTES))
    text = words.read().decode(errors="replace").strip()
    log.warning("trial in process %d: status %s\n%s", child.pid, child.returncode, text)
    return _ended(_how(child.returncode, text, limits), child)


def _how(status: int, words: str, limits: TrialLimits) -> str:
    last = (words.splitlines() or ["it said nothing"])[-1][:_LAST_WORDS_CHARACTERS]
    bound = f"it may use {limits.memory_bytes / 2**30:.0f} GiB (worker.trial_memory_bytes)"
    if status < 0:
        return f"The file killed the process that tried it ({signal.Signals(-status).name}); {bound}."
    return f"The process that tried the file ended with status {status} ({last}); {bound}."


def _ended(problem: str, child: subprocess.Popen[bytes]) -> Trial:
    log.info("trial in process %d: %s", child.pid, problem)
    return Trial({"trial": problem}, problem)
