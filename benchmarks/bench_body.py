"""python benchmarks/bench_body.py [--model PATH]

Full SMPL-X mesh, and keypoints alone, against the naive dense twin (einsum everything, one call) in the same run, next
to the floor that this machine's measured peak rates allow. Without --model, a random model of SMPL-X's size.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from openexpose.body import BodyModel, load_model
from openexpose.body.arrays import ModelArrays

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
PARENTS += [
    20,
    25,
    26,
    20,
    28,
    29,
    20,
    31,
    32,
    20,
    34,
    35,
    20,
    37,
    38,
    21,
    40,
    41,
    21,
    43,
    44,
    21,
    46,
    47,
    21,
    49,
    50,
    21,
    52,
    53,
]


def random_smplx(seed: int = 0) -> ModelArrays:
    """SMPL-X's sizes with random contents: 4 joints a vertex, dense correctives, a contour on 658 vertices."""
    r = np.random.default_rng(seed)
    V, F, J = 10475, 20908, 55
    weights = np.zeros((V, J))
    near = np.argsort(r.random((V, J)), 1)[:, :4]
    np.put_along_axis(weights, near, r.dirichlet(np.ones(4), V), 1)
    faces = r.integers(0, V, (F, 3))
    head = r.choice(F, 219, replace=False)
    regressor = r.random((J, V)) ** 200
    return ModelArrays(
        family="smplx",
        label="random SMPL-X",
        v_template=r.standard_normal((V, 3)) * 0.3,
        faces=faces,
        shapedirs=r.standard_normal((V, 3, 10)) * 0.01,
        exprdirs=r.standard_normal((V, 3, 10)) * 0.001,
        posedirs=r.standard_normal((V, 3, 486)) * 1e-3,
        pose_features=np.arange(486),
        J_regressor=regressor / regressor.sum(1, keepdims=True),
        weights=weights,
        parents=np.array(PARENTS),
        extra_vertices=r.choice(V, 21, replace=False),
        static_faces=r.choice(F, 51, replace=False),
        static_bary=r.dirichlet(np.ones(3), 51),
        dynamic_faces=head[r.integers(0, 219, (79, 17))],
        dynamic_bary=r.dirichlet(np.ones(3), (79, 17)),
    )


class Naive:
    """The dense twin: every equation as one einsum over all vertices, homogeneous 4 x 4 matrices, joints one by one."""

    def __init__(self, a: BodyModel) -> None:
        s = a.surface
        self.parents = a.parents
        self.template = s.template
        self.shapedirs = s.shapedirs
        self.posedirs = s.posedirs
        self.weights = s.weights

    def __call__(self, J_regressor: Tensor, coeffs: Tensor, R: Tensor) -> Tensor:
        B = len(coeffs)
        v = self.template + torch.einsum("bl,vkl->bvk", coeffs, self.shapedirs)
        J = torch.einsum("jv,bvk->bjk", J_regressor, v)
        v = v + torch.einsum("bp,vkp->bvk", (R[:, 1:] - torch.eye(3)).reshape(B, -1), self.posedirs)
        G: list[Tensor] = []
        for k, p in enumerate(self.parents):
            local = torch.zeros(B, 4, 4)
            local[:, 3, 3] = 1
            local[:, :3, :3] = R[:, k]
            local[:, :3, 3] = J[:, k] - (J[:, p] if p >= 0 else 0)
            G.append(local if p < 0 else G[p] @ local)
        A = torch.stack(G, 1)
        A[:, :, :3, 3] -= torch.einsum("bjmn,bjn->bjm", A[:, :, :3, :3], J)
        T = torch.einsum("vj,bjmn->bvmn", self.weights, A)
        return torch.einsum("bvmn,bvn->bvm", T, torch.cat([v, torch.ones(B, v.shape[1], 1)], -1))[..., :3]


def median_ms(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each call, taken in turns so that a noisy neighbour disturbs all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if i >= 2:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: float(np.median(t)) for name, t in times.items()}


def peaks() -> tuple[float, float]:
    """Measured matrix-product rate (GFLOP/s) and reading rate (GB/s) of this process."""
    a, big = torch.randn(1536, 1536), torch.randn(64 * 2**20 // 4)
    t = median_ms({"gemm": lambda: a @ a, "read": lambda: big.sum()}, 9)
    return 2 * 1536**3 / t["gemm"] / 1e6, big.numel() * 4 / t["read"] / 1e6


def main() -> None:
    """Print one table for batch 1 and one for batch 64."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", type=Path, default=None, help="a SMPL-X file instead of the random model")
    ap.add_argument("--threads", type=int, default=2)
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    arrays = random_smplx()
    model = BodyModel(arrays) if args.model is None else load_model(args.model)
    naive = Naive(model)
    J_regressor = torch.as_tensor(arrays.J_regressor, dtype=torch.float32)
    gflops, gbs = peaks()
    print(f"{model.label}, {args.threads} threads; measured peaks {gflops:.0f} GFLOP/s, {gbs:.0f} GB/s")
    V, P, J = model.num_vertices, model.surface.feature_count, model.num_joints
    U = model.landmarks.patch.size
    for B in (1, 64):
        coeffs, R = torch.randn(B, 20), roma.random_rotmat(B * J).view(B, J, 3, 3).contiguous()

        def pose(coeffs: Tensor = coeffs, R: Tensor = R) -> object:
            return model.shape(coeffs[:, :10], coeffs[:, 10:]).pose(R)

        with torch.inference_mode():
            if args.model is None:
                worst = (naive(J_regressor, coeffs, R) - pose().skin().vertices_m).abs().max().item()
                print(f"  largest difference between the two: {worst:.1e} m")
            ms = median_ms(
                {
                    "naive": lambda c=coeffs, R=R: naive(J_regressor, c, R),
                    "mesh": lambda pose=pose: pose().skin().vertices_m,
                    "keypoints": lambda pose=pose: pose().keypoints_m(),
                    "joints": lambda pose=pose: pose().joints_m,
                },
                31 if B == 1 else 9,
            )
        work = {
            "mesh": (2 * B * (3 * V * (20 + P) + 12 * J * V + 9 * V), 4 * (3 * V * (20 + P) + J * V + B * 3 * V)),
            "keypoints": (2 * B * U * (3 * (20 + P) + 12 * J + 9), 4 * U * (3 * (20 + P) + J)),
        }
        print(f"  batch {B}: naive {ms['naive']:.2f} ms")
        for name in ("mesh", "keypoints", "joints"):
            line = f"    {name:10s} {ms[name]:7.2f} ms   {ms['naive'] / ms[name]:5.1f} x naive"
            if name in work:
                flop, byte = work[name]
                floor = max(flop / gflops / 1e6, byte / gbs / 1e6)
                line += f"   {flop / 1e6:.0f} MFLOP, {byte / 1e6:.0f} MB: floor {floor:.2f} ms, {ms[name] / floor:.1f}x"
            print(line)


if __name__ == "__main__":
    main()
