"""Command line: `python -m benchmarks.serving [--quick] [--only mlp digits] [--json FILE]`.

Peers need the extra `serving` and Java 17, in this environment or in that of `--peers-python`; those that are missing
are reported as not started. Whole run: about an hour and a half on two cores; `--quick`: a few minutes per model, of
figures that only show that all of it works.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson
import torch

from benchmarks.serving import bundles, report
from benchmarks.serving.accelerated import accelerated
from benchmarks.serving.cells import LARGE, STEPS, Contender, Measured, Plan, measure, say
from benchmarks.serving.parties import ours, peers
from benchmarks.serving.passes import limit
from benchmarks.serving.questions import questions, share_within, smallest_steps

MODELS = ("mlp", "digits", "encoder", "cnn224")
#: Distinct inputs per model: more than are answered before one comes again.
_COUNTS = {"mlp": 8192, "digits": 8192, "encoder": 256, "cnn224": 48}
#: Of so many inputs every one must be within 5 % at a peer's own number of steps.
_TRIED = {"mlp": 512, "digits": 256, "encoder": 8, "cnn224": 4}

#: What a peer's answers are like with so few steps, of which a server would have to be three or four times as fast as a
#: peer with its own number, and on how many inputs that is seen.
FEW_STEPS, _TRIED_WITH_FEW = (3, 5, 9), 24


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no server outlives this
    torch.set_num_threads(1)
    all_found = []
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        work = Path(folder)
        for model in options.only:
            all_found.append(_one_model(options, model, work))
        plan = _plan(options, MODELS[0], work)
        extra, not_run = ([], []) if options.no_cuda else accelerated(work, options.weights, options.large_seconds)
    print(report.markdown(plan, all_found, extra, not_run))
    if options.json:
        options.json.write_bytes(
            orjson.dumps(report.document(plan, all_found, extra, not_run), option=orjson.OPT_INDENT_2)
        )


def _one_model(options: argparse.Namespace, model: str, work: Path) -> Measured:
    say(f"{model}: making its bundle and inputs")
    plan = _plan(options, model, work)
    bundle = bundles.make_bundle(plan.models, options.weights, model)
    asked = questions(plan.models, model, _COUNTS[model])
    own, worst = smallest_steps(asked, _TRIED[model])
    say(f"{model}: peers need {own} steps; with {STEPS} the worst is {worst:.1%} off")
    found = Measured(model, own, worst, {few: share_within(asked, _TRIED_WITH_FEW, few) for few in FEW_STEPS})
    steps = dict.fromkeys([STEPS] if options.only_50 else [STEPS, own])
    contenders = [
        Contender(ours(whole=options.whole), 0),
        *(Contender(party, count) for count in steps for party in peers(model)),
    ]
    if options.parties:
        contenders = [each for each in contenders if each.party.name in options.parties]
    measure(plan, asked, contenders, found)
    if model in LARGE:
        found.limit = limit(bundle, plan.workers, options.large_seconds / 4)
    return found


def _plan(options: argparse.Namespace, model: str, work: Path) -> Plan:
    return Plan(
        models=work / f"models-{model}",
        work=work / model,
        python=options.peers_python,
        workers=options.workers,
        threads=options.peer_threads,
        seconds=options.large_seconds if model in LARGE else options.seconds,
        rounds=options.rounds,
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MODELS, default=MODELS, help="these models")
    parser.add_argument("--parties", nargs="+", help="these servers, such as attributor 'FastAPI loop'")
    parser.add_argument("--only-50", action="store_true", help="peers with 50 steps only, not with their own number")
    parser.add_argument("--whole", action="store_true", help="our results with all fields, not with those of peers")
    parser.add_argument("--no-cuda", action="store_true", help="leave the part on CUDA out")
    parser.add_argument("--quick", action="store_true", help="one round of 2 s (large nets 12 s) per cell")
    parser.add_argument("--seconds", type=float, default=6, help="measured per cell and round, of small nets")
    parser.add_argument("--large-seconds", type=float, default=25, help="the same of large nets")
    parser.add_argument("--rounds", type=int, default=2, help="how often each party has its turn in a cell")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of a peer: the cores")
    parser.add_argument("--peer-threads", type=int, default=1, help="threads of torch in each; 0: torch's own choice")
    parser.add_argument("--peers-python", default=sys.executable, help="the Python that has the peers")
    weights = Path(tempfile.gettempdir()) / "attributor-benchmark-weights"
    parser.add_argument("--weights", type=Path, default=weights, help="where trained weights are kept between runs")
    parser.add_argument("--json", type=Path, help="the figures go here too")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.large_seconds, options.rounds = 2, 12, 1
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
