"""Photos to result files, end to end: photos a second with and without pictures, and where the time goes.

    python benchmarks/bench_predict.py PHOTOS... --count 40 --threads 2

Takes the weights that ship (or --weights), one person a photo (the whole photo, or --detector builtin). Copies of the
photos make the job long enough. Stages are times by the clock, summed over their threads: together they are more than
the job's where they overlap. On a shared machine look at the processor's time.
Aim on two free cores: >= 5 photos/s with meshes and JSON, >= 2 with pictures.
"""

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

import torch

from openexpose.body import load_model
from openexpose.errors import WeightsError
from openexpose.export.people import Outputs, PeopleWriter
from openexpose.images import SUFFIXES
from openexpose.nets.build import build_expose
from openexpose.nets.config import lite
from openexpose.nets.fast import speed_up
from openexpose.nets.means import Means
from openexpose.predict import Predictor
from openexpose.predict.job import Extras, JobConfig, Report, run
from openexpose.predict.listing import Listed
from openexpose.predict.predictor import load_detector
from openexpose.prediction import ModelInfo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+", help="photos or folders")
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--detector", default="whole")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    start = time.perf_counter()
    predictor = loaded(args.weights, args.detector)
    print(f"loading {time.perf_counter() - start:.2f} s; {predictor.info.weights}; detector {predictor.detector.label}")
    found = [
        p for f in args.photos for p in (sorted(f.rglob("*")) if f.is_dir() else [f]) if p.suffix.lower() in SUFFIXES
    ]
    start = time.perf_counter()
    predictor(found[0])
    print(f"first photo {time.perf_counter() - start:.2f} s, threads {args.threads}, batch {args.batch}")

    listed = [Listed(found[i % len(found)], f"{i:05d}") for i in range(args.count)]
    for label, extras in variants(predictor).items():
        folder = Path(tempfile.mkdtemp())
        try:
            start, cpu = time.perf_counter(), time.process_time()
            report = run(predictor, listed, JobConfig(folder, batch=args.batch), extras=extras)
            spent = (time.perf_counter() - start, time.process_time() - cpu)
            tell(label, report, spent, sum(p.stat().st_size for p in folder.rglob("*")))
        finally:
            shutil.rmtree(folder)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def variants(predictor: Predictor) -> dict[str, Extras | None]:
    """What is written beside result.json and result.npz."""
    model = predictor.body_model
    no_pictures = {"amass": False, "pictures": False, "page": False}
    return {
        "results alone": None,
        "and GLB": PeopleWriter(model, Outputs(meshes=("glb",), **no_pictures)),
        "and GLB, OBJ, PLY, AMASS": PeopleWriter(model, Outputs(**no_pictures | {"amass": True})),
        "and pictures, no page": PeopleWriter(model, Outputs(meshes=("glb",), page=False)),
        "the default": PeopleWriter(model, Outputs(meshes=("glb",))),
    }


def tell(label: str, report: Report, spent_s: tuple[float, float], n_bytes: int) -> None:
    """One line a variant. spent_s: by the clock, and by all threads of this process."""
    wall_s, cpu_s = spent_s
    n = max(report.done, 1)
    stages = ", ".join(f"{k} {1000 * v / n:.0f}" for k, v in report.seconds.items())
    print(
        f"{label:>24}: {report.done / wall_s:5.2f} photos/s, {report.people / wall_s:5.2f} people/s; ms a photo: "
        f"clock {1000 * wall_s / n:.0f}, processor {1000 * cpu_s / n:.0f}, {stages}; {n_bytes / n / 1000:.0f} kB each"
    )


def loaded(weights: Path | None, detector: str) -> Predictor:
    """The predictor; random weights of the same networks where none ship."""
    try:
        return Predictor.load(weights, detector=detector)
    except WeightsError as e:
        if weights is not None:
            raise
        print(f"{str(e).splitlines()[0]}\n-> random weights of the preset lite")
        net = speed_up(build_expose(lite(), load_model("free"), means=Means()).eval())
        model = net.body_model
        info = ModelInfo(model.label, model.sha256, model.family, model.gender, "random (lite)")
        return Predictor(net, load_detector(detector), info)


if __name__ == "__main__":
    main()
