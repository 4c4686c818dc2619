"""The models of a worker through their lives: found on disk, proven, unloaded and loaded again, drained when removed.

Says what is to be done next and does it when it is told to; knows no store, no requests, no event loop.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from attributor.errors import BundleError, ModelNotReady
from attributor.jobs.job import JobSpec
from attributor.jobs.model import ModelReport, Readiness
from attributor.registry.catalog import Bundle, FolderCatalog
from attributor.registry.registry import Registry

_log = logging.getLogger(__name__)

#: What the reason of a failure says beside, where the version served before.
_IMMUTABLE = (
    "This version served from other files before, which are gone: versions are immutable. Put the files back, or "
    "give the change a version of its own."
)


@dataclass(slots=True)
class _Life:
    """One version, as it lies on disk now. `replaced`: it served before, from other files. `said`: a report of the
    registry, and what its proof says by that."""

    bundle: Bundle
    replaced: bool = False
    gone: bool = False
    said: tuple[ModelReport, ModelReport] | None = None

    @property
    def digest(self) -> str:
        """Of what is to be served."""
        return self.bundle.info.digest


class Keeper:
    """Port `worker.model_keeper.ModelKeeper` over a catalog and a registry. `comparators`: what its reports say.

    `rescan` and `attend` are for one thread at a time; the rest is for the one that asks.
    """

    def __init__(self, catalog: FolderCatalog, registry: Registry, *, comparators: bool) -> None:
        self._catalog = catalog
        self._registry = registry
        self._comparators = comparators
        self._lives: dict[str, _Life] = {}
        self._told: dict[str, ModelReport] = {}
        self._wanted: str | None = None
        self._short_of_room = False
        #: Looks at the folder that have ended; and, per job for what is not known here, how many had when it came.
        self._looks = 0
        self._strangers: dict[str, int] = {}
        self._follow_catalog()

    def hold(self, job_id: str, spec: JobSpec) -> bool:
        """See the port."""
        life = self._lives.get(spec.ref)
        if life is None or life.gone or life.digest != spec.digest:
            return self._stranger(job_id, spec, life)
        report = self._proof(life)
        if report is None:
            return False
        if report.reason is not None:
            raise ModelNotReady(f"Model {spec.ref} failed its proof at load: {report.reason}")
        if spec.is_comparison:
            return True
        # While one waits for those in memory to become free, nobody may use them anew: it would wait for ever.
        return not self._short_of_room and self._registry.use(job_id, spec.ref)

    def release(self, job_id: str) -> None:
        """See the port."""
        self._strangers.pop(job_id, None)
        self._registry.free(job_id)

    def due(self, wanted: Iterable[JobSpec]) -> str | None:
        """See the port."""
        self._short_of_room = False
        specs = list(wanted)
        # A load takes seconds, a proof may take minutes: what only has to be loaded goes first.
        passed = {spec.ref for spec in specs if self._has_passed(spec)}
        ordered = sorted(specs, key=lambda spec: spec.ref not in passed)
        self._wanted = next((spec.ref for spec in ordered if self._can_bring(spec)), None)
        if self._wanted is not None:
            return self._wanted
        for ref, life in sorted(self._lives.items()):
            if (life.gone or self._proof(life) is None) and not self._registry.in_use(ref):
                return ref
        return None

    def starting(self, ref: str) -> ModelReport | None:
        """See the port."""
        life = self._lives[ref]
        if life.gone or self._proof(life) is not None:
            return None
        return ModelReport(
            ref, life.digest, Readiness.LOADING, None, (), {}, time.time(), comparators=self._comparators, loaded=False
        )

    def attend(self, ref: str) -> Mapping[str, ModelReport | None]:
        """See the port."""
        life = self._lives[ref]
        if life.gone:
            self._registry.forget(ref)
            del self._lives[ref]
            self._told.pop(ref, None)
            _log.info("model %s was removed", ref)
            return {ref: None}
        if self._proof(life) is None:
            # A model that no job wants does not push out those that were wanted.
            self._registry.load(life.bundle, evicting=ref == self._wanted)
        else:
            self._registry.load_again(ref)
        return self._news()

    def rescan(self) -> Mapping[str, ModelReport | None]:
        """See the port."""
        try:
            changes = self._catalog.refresh()
        except BundleError as error:
            _log.warning("the models stay as they were: %s", error.detail)
        except Exception:  # of a file that nobody vouches for: the next look must come
            _log.exception("the models stay as they were")
        else:
            for ref, problem in changes.broken.items():
                _log.warning("model %s is left out: %s", ref, problem)
            self._follow_catalog()
        self._looks += 1
        return self._news()

    def _follow_catalog(self) -> None:
        found = {info.ref: self._catalog.bundle(info.ref) for info in self._catalog.all()}
        for ref, bundle in found.items():
            life = self._lives.get(ref)
            if life is None or life.digest != bundle.info.digest:
                known = self._registry.report(ref)
                served = known is not None and known.readiness is Readiness.READY
                self._lives[ref] = _Life(bundle, replaced=served or (life is not None and life.replaced))
        for ref, life in self._lives.items():
            life.gone = ref not in found

    def _proof(self, life: _Life) -> ModelReport | None:
        """What the proof of these files found; None while they await it."""
        report = self._registry.report(life.bundle.info.ref)
        if report is None or report.digest != life.digest:
            return None
        if life.said is not None and life.said[0] is report:
            return life.said[1]
        reason = f"{report.reason} {_IMMUTABLE}" if life.replaced and report.reason is not None else report.reason
        proof = replace(report, reason=reason, comparators=self._comparators)
        life.said = report, proof  # at once, as another thread may ask
        return proof

    def _stranger(self, job_id: str, spec: JobSpec, life: _Life | None) -> bool:
        """A job for what is not known here: the API may have seen a new bundle first, so it is refused only after one
        more look at the folder."""
        if self._looks <= self._strangers.setdefault(job_id, self._looks):
            return False
        if life is not None and not life.gone:
            raise ModelNotReady(f"The bundle of {spec.ref} was changed since this was asked for. Send it again.")
        problem = self._catalog.problems.get(spec.ref, "its bundle is gone.")
        raise ModelNotReady(f"Model {spec.ref} is not served: {problem}")

    def _has_passed(self, spec: JobSpec) -> bool:
        life = self._lives.get(spec.ref)
        return life is not None and self._proof(life) is not None

    def _can_bring(self, spec: JobSpec) -> bool:
        """Whether there is something to do at once for a job that waits; notes if it waits for others to be free."""
        life = self._lives.get(spec.ref)
        if life is None or life.gone or life.digest != spec.digest:
            return False
        report = self._proof(life)
        if report is None:
            return not self._registry.in_use(spec.ref)  # by jobs on its files from before
        if spec.is_comparison or report.reason is not None or self._registry.in_memory(spec.ref):
            return False
        if not self._short_of_room:
            self._short_of_room = not self._registry.has_room(spec.ref)
        return not self._short_of_room

    def _news(self) -> Mapping[str, ModelReport | None]:
        """The reports that are not as they were told last."""
        news: dict[str, ModelReport | None] = {}
        for ref, life in self._lives.items():
            report = None if life.gone else self._proof(life)
            before = self._registry.report(ref)
            if report is None and before is not None and self._registry.in_use(ref):
                report = replace(before, readiness=Readiness.DRAINING, comparators=self._comparators)
            if report is not None and report != self._told.get(ref):
                self._log_report(report)
                news[ref] = self._told[ref] = report
        return news

    def _log_report(self, report: ModelReport) -> None:
        before = self._told.get(report.ref)
        if before is not None and replace(before, loaded=report.loaded) == report:
            return  # it only came into memory, or left it
        level = logging.WARNING if report.reason else logging.INFO
        reason = f" ({report.reason})" if report.reason else ""
        _log.log(level, "model %s: %s%s", report.ref, report.readiness, reason)
