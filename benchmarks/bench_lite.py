"""Persons per second of the `lite` preset against `expose`, from decoded photos to finished predictions.

    python benchmarks/bench_lite.py --threads 2 --repeats 7

Eight persons in eight photos of 1280 x 960 pixels, boxes given: crops, networks, attention, merge, body model, fitted
camera. Both presets on FreeBody by the inference path (`nets.fast`); the variants take turns and the best of the
repeats counts. Weights are random unless `--weights` gives lite's: speed does not depend on them.
On a shared machine `--clock cpu --threads 1` counts this process's own time only.
Aim with two free cores: lite >= 8 persons/s, and >= 5x expose.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from openexpose.body import load_model
from openexpose.detect import Detection
from openexpose.detect.whole import WholePhoto
from openexpose.nets import build, config, fast
from openexpose.nets.expose import ExPose
from openexpose.nets.means import Means
from openexpose.predict.predictor import Found, Predictor, as_shot
from openexpose.prediction import ModelInfo
from openexpose.weights.models import load_expose

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
PHOTO_HW = (960, 1280)
BOX = (420.0, 100.0, 860.0, 860.0)
AIM_PER_S, AIM_RATIO = 8.0, 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--eager", action="store_true", help="the networks as they are trained, too")
    parser.add_argument("--weights", type=Path, help="lite's weights; random ones otherwise")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    networks = {"lite": network("lite", args.weights), "expose": network("expose", None)}
    predictors = {name: predictor(fast.speed_up(net)) for name, net in networks.items()}
    if args.eager:
        predictors |= {f"{name} eager": predictor(net) for name, net in networks.items()}
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (*PHOTO_HW, 3), dtype=np.uint8) for _ in range(args.batch)]
    people = [Found(as_shot(p, name=f"photo {i}"), Detection(BOX), 0) for i, p in enumerate(photos)]
    seconds = best({name: runner(p, people) for name, p in predictors.items()}, CLOCKS[args.clock], args.repeats)
    print(f"threads {args.threads}, clock {args.clock}, batch {args.batch}, best of {args.repeats}")
    for name, s in seconds.items():
        print(f"  {name:14s} {s * 1e3:8.1f} ms  {args.batch / s:7.2f} persons/s")
    rate, ratio = args.batch / seconds["lite"], seconds["expose"] / seconds["lite"]
    print(f"lite: {rate:.1f} persons/s (aim {AIM_PER_S:g}), {ratio:.1f} x expose (aim {AIM_RATIO:g} x)")


def network(preset: str, weights: Path | None) -> ExPose:
    """One preset on FreeBody, in evaluation mode."""
    body = load_model("free")
    if weights is not None:
        return load_expose(weights, body_model=body)
    torch.random.default_generator.manual_seed(0)
    return build.build_expose(config.PRESETS[preset](), body, means=Means()).eval()


def predictor(net: ExPose) -> Predictor:
    """A predictor around a network, without files."""
    model = net.body_model
    info = ModelInfo(model.label, model.sha256, model.family, model.gender, "random")
    return Predictor(net, WholePhoto(), info)


def runner(p: Predictor, people: list[Found]) -> Callable[[], object]:
    """A call that fits everybody in one batch."""
    return lambda: p.fit(people, batch=len(people))


def best(calls: dict[str, Callable[[], object]], clock: Callable[[], float], repeats: int) -> dict[str, float]:
    """Least seconds of each; they take turns, so that a busy machine slows all alike. The first turn warms up."""
    out = dict.fromkeys(calls, float("inf"))
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = clock()
            call()
            if turn:
                out[name] = min(out[name], clock() - start)
    return out


if __name__ == "__main__":
    main()
