"""Time of one 512 x 512 picture of a body: median of n, and where it goes.

    python benchmarks/bench_render.py [--mesh free|sphere|FILE] [--frames 15] [--side 512]

"first picture" builds the scene (ray-tracing structure, normals, ambient occlusion) and draws; "next view" draws the
same scene from another side. Rays are counted by what Embree is asked.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from openexpose.body import free
from openexpose.geometry.camera import orbit
from openexpose.render.ground import Ground
from openexpose.render.raycast import Look, render_scene
from openexpose.render.scene import SKIN, Mesh, Scene


@dataclass
class Clock:
    """Seconds and rays spent inside Embree."""

    seconds: float = 0.0
    rays: int = 0
    by: dict[str, float] = field(default_factory=dict)

    def wrap(self, scene: Scene, name: str) -> None:
        """Count every call of one of the scene's ray queries."""
        inner: Callable[..., Any] = getattr(scene, name)

        def counted(origins: np.ndarray, *rest: Any) -> Any:
            begin = time.perf_counter()
            found = inner(origins, *rest)
            spent = time.perf_counter() - begin
            self.seconds += spent
            self.rays += len(origins)
            self.by[name] = self.by.get(name, 0.0) + spent
            return found

        setattr(scene, name, counted)


def body(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces."""
    if name == "sphere":
        ball = trimesh.creation.icosphere(5, radius=0.9)
        return np.asarray(ball.vertices, dtype=np.float32), np.asarray(ball.faces)
    if name != "free":
        loaded = trimesh.load_mesh(name, process=False)
        return np.asarray(loaded.vertices, dtype=np.float32), np.asarray(loaded.faces)
    arrays = free.load_body()
    return arrays.v_template.astype(np.float32), arrays.faces


def timed(job: Callable[[], Any], count: int) -> str:
    """Median wall time, best wall time and median CPU time (all threads) of `count` runs; one more run to warm up."""
    job()
    wall, cpu = [], []
    for _ in range(count):
        begin = time.perf_counter(), time.process_time()
        job()
        wall.append(1e3 * (time.perf_counter() - begin[0]))
        cpu.append(1e3 * (time.process_time() - begin[1]))
    return f"{np.median(wall):6.1f} ms (best {min(wall):6.1f}, CPU {np.median(cpu):6.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="free", help="free (FreeBody), sphere, or a mesh file")
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--side", type=int, default=512)
    args = parser.parse_args()
    v, f = body(args.mesh)
    camera = orbit(v, azimuth_rad=0.4, elevation_rad=0.1, width_px=args.side, height_px=args.side)
    size = f"{len(v)} vertices, {len(f)} faces, {args.side} x {args.side} pixels"
    print(f"{Path(args.mesh).name}: {size}, median of {args.frames}")
    floor = Ground(float(v[:, 1].min()))
    looks = {
        "one ray a pixel, no occlusion": Look(samples=1, occlusion_rays=0),
        "16 rays at edges, no occlusion": Look(occlusion_rays=0),
        "default": Look(),
        "default with ground": Look(ground=floor),
        "16 rays everywhere": Look(everywhere=True),
    }
    print(f"  {'build the scene':30s} {timed(lambda: Scene.of(Mesh(v, f, material=SKIN)), args.frames)}")
    for name, look in looks.items():
        first = timed(partial(first_picture, v, f, camera, look), args.frames)
        scene = Scene.of(Mesh(v, f, material=SKIN))
        again = timed(partial(render_scene, scene, camera, look=look), args.frames)
        print(f"  {name:30s} first picture {first}\n  {'':30s} next view     {again}")
    report_shares(v, f, camera, Look())


def first_picture(v: np.ndarray, f: np.ndarray, camera: Any, look: Look) -> None:
    """Everything from arrays to a picture."""
    render_scene(Scene.of(Mesh(v, f, material=SKIN)), camera, look=look)


def report_shares(v: np.ndarray, f: np.ndarray, camera: Any, look: Look) -> None:
    """Where the first picture's time goes, one run after a warm one."""
    first_picture(v, f, camera, look)
    begin = time.perf_counter()
    scene = Scene.of(Mesh(v, f, material=SKIN))
    built = time.perf_counter() - begin
    clock = Clock()
    clock.wrap(scene, "cast")
    clock.wrap(scene, "blocked")
    begin = time.perf_counter()
    render_scene(scene, camera, look=look)
    drawn = time.perf_counter() - begin
    total = built + drawn
    parts = {
        "building the scene": built,
        "casting camera rays": clock.by["cast"],
        "casting occlusion and shadow rays": clock.by.get("blocked", 0.0),
        "shading and bookkeeping": drawn - clock.seconds,
    }
    print(f"  shares of a default first picture ({1e3 * total:.0f} ms):")
    for name, seconds in parts.items():
        print(f"    {name:34s} {1e3 * seconds:6.1f} ms  {100 * seconds / total:3.0f} %")
    print(f"    {clock.rays / 1e6:.2f} M rays, {clock.rays / clock.seconds / 1e6:.1f} M rays/s inside Embree")


if __name__ == "__main__":
    main()
