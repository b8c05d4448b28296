"""The training loop, on Lightning Fabric: one screen, nothing hidden but writing and drawing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from openexpose.losses import total
from openexpose.train.batch import Batch
from openexpose.train.chance import seed_of, set_torch_generators
from openexpose.train.config import lr_at
from openexpose.train.job import Job
from openexpose.train.judge import evaluate
from openexpose.train.state import save
from openexpose.train.watch import TrainingStopped, memory_advice


def fit(job: Job) -> Iterator[dict[str, float]]:
    """Train to the last step of the plan, logging, evaluating and saving on the way; gives each step's numbers.

    Raises TrainingStopped when the loss is no number or runs away (the batch is saved first), or memory runs out.
    """
    config, fabric, learner, optimiser = job.config, job.fabric, job.wrapped, job.optimiser
    weights = job.loss_weights()
    max_norm = config.optimiser.max_grad_norm or float("inf")
    learner.train()
    if job.step == 0:
        evaluate(job)
    for step in range(job.step, job.plan.steps):
        clock = Clock()
        for group in optimiser.param_groups:
            group["lr"] = lr_at(step, config.optimiser, job.plan)
        seen: list[Batch] = []
        for turn in range(config.accumulate):
            with clock("data"):
                seen.append(next(job.batches).to(fabric.device))
                job.folder.note_skipped(seen[-1].skipped, fabric.global_rank)
            set_torch_generators(seed_of(config.seed, step, turn, fabric.global_rank))
            more = turn < config.accumulate - 1
            with memory_advice(config.batch_size, config.accumulate), fabric.no_backward_sync(learner, enabled=more):
                with clock("forward"):
                    loss, parts = total(learner(seen[-1]), weights, share=job.mean_over_processes)
                with clock("backward"):
                    fabric.backward(loss / config.accumulate)
        with clock("optimiser"):
            norm = float(fabric.clip_gradients(learner, optimiser, max_norm=max_norm, error_if_nonfinite=False))  # type: ignore[arg-type]
            values = job.mean_over_processes(torch.stack([loss, *parts.values()])).tolist()
            try:
                job.watch.check(step, values[0], norm)
            except TrainingStopped as stop:
                kept = [job.folder.keep_batch(step, turn, batch, fabric.global_rank) for turn, batch in enumerate(seen)]
                raise TrainingStopped(f"{stop} What it saw is in {', '.join(map(str, kept))}.") from stop
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if job.average is not None:
                job.average.update(job.learner)
        job.step, last = step + 1, step + 1 == job.plan.steps
        numbers = dict(zip(["loss", *parts], values, strict=True)) | clock.numbers(job.plan.samples_per_step)
        yield numbers | {"grad_norm": norm, "lr": lr_at(step, config.optimiser, job.plan)}
        if job.step % config.eval_every == 0 or last:
            evaluate(job)
        if job.step % config.save_every == 0 or last:
            save(job)


@dataclass
class Clock:
    """Time spent in the named parts of a step (on a GPU: the host's; it runs ahead of the device)."""

    started: float = field(default_factory=time.perf_counter)
    parts: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.parts[part] = self.parts.get(part, 0.0) + time.perf_counter() - begin

    def numbers(self, samples: int) -> dict[str, float]:
        """Milliseconds of each part and of the whole step, and samples a second."""
        elapsed = time.perf_counter() - self.started
        found = {f"{part}_ms": 1000 * seconds for part, seconds in self.parts.items()}
        return found | {"step_ms": 1000 * elapsed, "samples_per_s": samples / elapsed}
