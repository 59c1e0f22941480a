"""The walk from a plan to predictions: do what is left, record each batch as it is done."""

from __future__ import annotations

import sys
from collections.abc import Sequence, Set
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from unix_bench.data import ImageCheck, Study
from unix_bench.errors import TooManyFailures, UserError
from unix_bench.execution import (
    Outcome,
    ProgressLine,
    Scheduler,
    WorkerState,
    batch_plan,
    gather,
    graceful_stop,
)
from unix_bench.plan import Plan, PredictOptions, look_at_images, new_record
from unix_bench.records import Heartbeat, PhaseLog, RunFolder, Sample, read_heartbeat
from unix_bench.settings import Settings

PASSES = 3  # over what is left, where records vanish while a run is at work


def predict(plan: Plan, options: PredictOptions, settings: Settings, run: RunFolder) -> None:
    """Do what is left of a run, samples that failed before among it; one that is finished is not touched.

    Args:
        plan: What to predict.
        options: What to do about failures, and how long a batch may take.
        settings: Where the cache is.
        run: Its folder, which need not exist; it is held until the caller releases it.

    Raises:
        Interrupted: Somebody asked to stop; the same command goes on.
        UserError: An image cannot be read, the weights do not load, the disk is full, or another process is at work.
        TooManyFailures: A sample failed, and the first failure was to end the run.
    """
    log = PhaseLog()
    batches: Sequence[list[Study]] = batch_plan(plan.eligible, plan.spec.batch_size)
    if plan.shard is not None:
        batches = plan.shard.part(batches)
    studies = [study for batch in batches for study in batch]
    with log.phase("checking images", len(studies)):
        check = look_at_images(studies, settings, options.skip_bad_images)
    found = run.whole_samples()
    bad = [study for study in studies if study.id in check.unreadable and study.id not in found]
    left = _left(batches, check, {name for name, sample in found.items() if sample.error is None})
    if not left and not bad:
        _begin(plan, run, check)
        if _died_at_work(run):
            with suppress(UserError):  # it can be read all the same
                run.hold()  # and what the dead process left behind goes with the release
        return
    plan.source.check()  # before anything is written
    if (dead := _died_at_work(run)) is not None:
        print(
            f"{run.id}: the process that worked on it died (pid {dead.pid}): going on. If it dies here again, "
            "--executor process survives that and leaves out the sample that does it",
            file=sys.stderr,
        )
    run.hold()
    line = ProgressLine(f"{plan.spec.model}, {plan.spec.task}", sum(map(len, left)) + len(bad))
    with ExitStack() as stack:
        scheduler = stack.enter_context(_scheduler(plan, options, run, line, len(left))) if left else None
        if scheduler is not None:  # so is this: weights that do not load leave no trace
            with log.phase("loading weights"):
                scheduler.wait_until_ready()
        _begin(plan, run, check)
        run.forget_results()
        log.open(run.path)
        stop = stack.enter_context(graceful_stop())
        phase = stack.enter_context(log.phase("predicting"))
        stack.enter_context(line)

        def note(outcomes: list[Outcome[Study, Any]]) -> None:
            samples = [_sample(plan, run, outcome) for outcome in outcomes]
            run.append(samples)
            failed = [sample for sample in samples if sample.error is not None]
            line.advance(len(samples), failed=len(failed))
            run.lease.tell(line.snapshot())
            phase.advance(len(samples))
            if failed and options.stop_at_failure:
                raise TooManyFailures(f"{failed[0].id} failed ({failed[0].error}), and --on-error fail stops there")

        note([Outcome(study, error=check.unreadable[study.id]) for study in bad])
        for _ in range(PASSES):
            if scheduler is None or not left:
                return
            scheduler.run(left, note, may_shrink=not plan.spec.deterministic, stop=stop)
            left = _left(batches, check, set(run.whole_samples()))
        raise UserError(f"predictions vanish from {run.path} as soon as they are recorded: see who else writes there")


def _died_at_work(run: RunFolder) -> Heartbeat | None:
    """The last sign of life of a process of this machine that died at work on the run; None: there is none."""
    last = read_heartbeat(run.path)
    return last if last is not None and last.state == "dead" else None


def _scheduler(
    plan: Plan, options: PredictOptions, run: RunFolder, line: ProgressLine, most: int
) -> Scheduler[Study, Any]:
    def watch(workers: Sequence[WorkerState]) -> None:
        line.show_workers(workers)
        run.lease.tell(line.snapshot())

    make = partial(plan.source.worker, plan.spec, plan.adapter)
    return Scheduler(gather(plan.crew, make, most), options.deadline_s, watch)


def _left(batches: Sequence[Sequence[Study]], check: ImageCheck, settled: Set[str]) -> list[list[Study]]:
    """Whole batches of which something is left, but for studies whose image cannot be read."""
    usable = [[study for study in batch if study.id not in check.unreadable] for batch in batches]
    return [batch for batch in usable if any(study.id not in settled for study in batch)]


def _begin(plan: Plan, run: RunFolder, check: ImageCheck) -> None:
    """Write the run's record where there is none, and hold the images against the one that is there."""
    if not run.is_begun:
        source = plan.source
        run.begin(new_record(plan.spec, plan.data, check.pixel_digest, source.identity.demo, source.weights))
    if run.record().pixel_digest != check.pixel_digest:
        print(f"WARNING: the images differ from those that {run.id} began with", file=sys.stderr)


def _sample(plan: Plan, run: RunFolder, outcome: Outcome[Study, Any]) -> Sample:
    if outcome.error is not None:
        return Sample(id=outcome.item.id, error=outcome.error)
    return plan.adapter.keep(run, outcome.item.id, outcome.output)
