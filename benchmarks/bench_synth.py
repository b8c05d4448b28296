"""How fast people are drawn: `python benchmarks/bench_synth.py [--device cuda] [--batch 256]`.

Aim on an H200: 2,000 labelled 256 x 256 photos a second (`--device cuda --batch 256 --supersample 1`). On a CPU one
process uses one thread, and its processor time is what is printed, so that a busy machine does not blur it;
`openexpose synth make --workers` starts one process for each core.
"""

import argparse
import time
from collections.abc import Callable

import torch

from openexpose.render.raster import rasterise
from openexpose.synth.photo import Studio
from openexpose.synth.scene import SynthConfig


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The best of some runs, after one to warm up."""
    best = float("inf")
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for k in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if k:
            best = min(best, clock() - start)
    return best


def main() -> None:
    """Print milliseconds a photo for drawing scenes, both renderers, and the rasteriser alone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--supersample", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    device = torch.device(a.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    cfg = SynthConfig(size_px=a.size, supersample=a.supersample)
    studio = Studio(cfg, device=device)
    draws = [studio.draw(0, i) for i in range(a.batch)]
    start = time.process_time()
    draws = [studio.draw(0, i) for i in range(a.batch)]
    print(f"draw scenes          {(time.process_time() - start) / a.batch * 1e3:8.2f} ms/photo")
    if device.type == "cpu":
        for renderer in ("embree", "raster"):
            own = Studio(cfg, renderer=renderer, mannequin=studio.mannequin)
            each = seconds(lambda own=own: [own.shoot([d]) for d in draws], device, a.repeats) / a.batch
            print(f"photos, {renderer:12s} {each * 1e3:8.1f} ms/photo, {1 / each:6.1f} photos/s on one thread")
    else:
        each = seconds(lambda: studio.shoot(draws), device, a.repeats) / a.batch
        print(f"photos, raster       {each * 1e3:8.3f} ms/photo, {1 / each:6.0f} photos/s at batch {a.batch}")
    people, picture, K = bodies(studio, a.batch, a.size)
    faces = studio.mannequin.faces

    def draw() -> object:
        return rasterise(people, faces, K, picture, pictures=a.batch, width_px=a.size, height_px=a.size)

    each = seconds(draw, device, a.repeats) / a.batch
    print(f"rasteriser alone     {each * 1e3:8.3f} ms for {len(faces):,} faces at {a.size} x {a.size}")


def bodies(studio: Studio, count: int, size_px: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The bare body, five metres away, filling the picture: vertices, picture numbers, K."""
    m = studio.mannequin
    shaped = m.model.shape()
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0], device=m.device))
    R = torch.eye(3, device=m.device).repeat(55, 1, 1)
    R[0] = upright
    vertices = shaped.pose(R, torch.tensor([0.0, -0.1, 5.0], device=m.device)).skin().vertices_m
    focal = 2.6 * size_px
    K = torch.tensor([[focal, 0, size_px / 2], [0, focal, size_px / 2], [0, 0, 1]], device=m.device)
    vertices[m.body_vertices :] = torch.nan
    return vertices.expand(count, -1, 3), torch.arange(count, device=m.device), K.expand(count, 3, 3)


if __name__ == "__main__":
    main()
