"""Evaluation during training: losses and metrics over fixed batches, the best weights, pictures of fixed people."""

import torch

from openexpose.errors import ConfigError
from openexpose.losses.terms import Term, total
from openexpose.train.draw import picture
from openexpose.train.job import Job
from openexpose.train.report import write_report
from openexpose.train.state import full_weights, whole_weights
from openexpose.train.watch import memory_advice
from openexpose.weights.native import save_weights

PICTURED = 8
"""People drawn at every evaluation."""


@torch.no_grad()
def evaluate(job: Job) -> dict[str, float]:
    """Losses and metrics over the evaluation data, logged; new best weights are kept. Empty without such data.

    Every number is a sum over all processes divided by a sum over all processes. With a weight average, that is
    what is evaluated and kept. Raises ConfigError if `config.best_by` is not among the numbers.
    """
    if job.exam is None:
        return {}
    if job.average is not None:
        job.average.swap(job.learner)
    job.wrapped.eval()
    numbers = _sums(job)
    if job.is_first:
        job.folder.log("eval", job.step, numbers)
    if job.config.best_by not in numbers:
        raise ConfigError(f"best_by={job.config.best_by!r}: the evaluation gives {', '.join(numbers)}")
    if numbers[job.config.best_by] < job.best:
        job.best = numbers[job.config.best_by]
        weights = full_weights(job)
        if job.is_first:
            save_weights(weights, job.folder.path / "best.safetensors", job.header)
    if job.config.report:
        with whole_weights(job):
            if job.is_first:
                _report(job)
    if job.average is not None:
        job.average.swap(job.learner)
    job.wrapped.train()
    return numbers


def _sums(job: Job) -> dict[str, float]:
    config, fabric = job.config, job.fabric
    assert job.exam is not None
    sums: dict[str, Term] = {}
    for turn in range(config.eval_batches):
        first = (turn * fabric.world_size + fabric.global_rank) * config.batch_size
        batch = job.exam.batch(range(first, first + config.batch_size)).to(fabric.device)
        job.folder.note_skipped(batch.skipped, fabric.global_rank)
        with memory_advice(config.batch_size, config.accumulate):
            found = job.wrapped(batch)
        for name, term in found.items():
            before = sums.get(name)
            sums[name] = term if before is None else Term(before.summed + term.summed, before.over + term.over)
    flat = torch.stack([torch.stack([*term]) for term in sums.values()])
    shared = torch.as_tensor(fabric.all_reduce(flat, reduce_op="sum"))
    terms = {name: Term(*pair) for name, pair in zip(sums, shared.unbind(), strict=True)}
    weights = {name: weight for name, weight in job.loss_weights().items() if name in terms}
    loss, parts = total({name: terms[name] for name in weights}, weights)
    metrics = {name: float(term.value) for name, term in terms.items() if name not in weights}
    return {"loss": float(loss)} | {name: float(value) for name, value in parts.items()} | metrics


def _report(job: Job) -> None:
    assert job.exam is not None
    batch = job.exam.batch(range(min(PICTURED, job.config.batch_size))).to(job.fabric.device)
    sheet = picture(batch, job.learner.answer(batch)[2], job.learner.loss)
    job.folder.keep_picture(job.step, sheet)
    config, plan = job.config, job.plan
    done = f"{job.step} of {plan.steps} steps, {plan.samples_per_step} samples each"
    summary = f"{done}; lowest {config.best_by} so far {job.best:.4g}"
    write_report(job.folder, title=f"Training {config.preset}", summary=summary)
