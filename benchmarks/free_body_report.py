"""How close the shipped free models are to Anny itself; needs the extra [anny], takes about three minutes.

    python benchmarks/free_body_report.py [--people 120] [--poses POSES.npz]

People and poses are other ones than those that the models were built from. Distances are between corresponding
vertices of the skin and eyes (teeth and tongue left out). POSES.npz: `body_pose` (N, 21, 3) and `global_orient` (N, 3)
axis-angle; without it, body joints turn by random amounts (20 degrees standard deviation on each axis).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from openexpose.body import free, load_model
from openexpose.body.arrays import ModelArrays
from openexpose.body.build_free.assemble import make_surface, other_side, shape_coefficients
from openexpose.body.build_free.kinematics import chain, rotation, skin
from openexpose.body.build_free.people import principal_shapes, sample_adults
from openexpose.body.build_free.reference import Reference, reference
from openexpose.body.build_free.rig import JOINTS, PARENTS, joint
from openexpose.body.build_free.source import Source, load_source
from openexpose.body.build_free.study import Study, head_people, prepare
from openexpose.body.hands import hand_pose, named_hand_poses

MM = 1e3


@dataclass(frozen=True)
class Free:
    """The shipped body as small float64 numpy code."""

    a: ModelArrays

    def rest(self, betas: np.ndarray, expression: np.ndarray | None = None) -> np.ndarray:
        v = self.a.v_template + self.a.shapedirs @ betas
        return v if expression is None else v + self.a.exprdirs @ expression

    def posed(self, rest: np.ndarray, R: np.ndarray) -> np.ndarray:
        features = (R[1:] - np.eye(3)).reshape(-1)[self.a.pose_features]
        motion = chain(R, self.a.J_regressor @ rest, PARENTS)
        return skin(rest + self.a.posedirs @ features, self.a.weights, motion)


def line(name: str, distances_mm: np.ndarray, aim: str = "") -> None:
    p95 = np.percentile(distances_mm, 95)
    print(f"{name:<66} {distances_mm.mean():7.2f} {p95:8.2f} {distances_mm.max():8.2f}   {aim}")


def gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=-1) * MM


def report_shapes(study: Study, body: Free, coefficients: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Shape errors; returns the betas of the people."""
    vertices, joints = study.tposed.people(coefficients)
    betas = shape_coefficients(vertices, body.a.v_template, body.a.shapedirs)
    made = np.stack([body.rest(b) for b in betas])
    line("surface, T-pose, 10 betas", gaps(made, vertices)[:, keep], "aim <= 6 mean")
    mean, dirs = principal_shapes(study.vertices, 50, study.vertex_weight)
    fifty = shape_coefficients(vertices, mean, dirs)
    near = mean + np.einsum("vck,nk->nvc", dirs, fifty, optimize=True)
    line("surface, T-pose, 50 betas (not shipped)", gaps(near, vertices)[:, keep])
    found = np.einsum("jv,nvc->njc", body.a.J_regressor, made)
    error = gaps(found, joints)
    line("joints, all 55", error, "aim <= 3 mean")
    line("joints, body 1-21", error[:, 1:22])
    line("joints, fingers", error[:, 25:])
    worst = sorted(
        ((error[:, j].mean(), n) for j, n in enumerate(JOINTS) if n == n.replace("right_", "")), reverse=True
    )
    print("  worst joints, mean mm: " + ", ".join(f"{n} {e:.1f}" for e, n in worst[:6]))
    return betas


def poses(args: argparse.Namespace, count: int, rng: np.random.Generator) -> np.ndarray:
    """(N, 55, 3, 3): body from the pose file, hands from the named poses, jaw up to 25 degrees."""
    turns = np.zeros((count, 55, 3))
    if args.poses is None:
        turns[:, 1:22] = rng.normal(0, np.deg2rad(20), (count, 21, 3))
    else:
        with np.load(args.poses) as bank:
            rows = rng.choice(len(bank["body_pose"]), count, replace=False)
            turns[:, 1:22], turns[:, 0] = bank["body_pose"][rows], bank["global_orient"][rows]
    turns[:, 22, 0] = rng.uniform(0, np.deg2rad(25), count)
    R = rotation(turns)
    model, names = load_model("free", dtype=torch.float64), list(named_hand_poses())
    for n in range(count):
        for first, side in ((25, "left"), (40, "right")):
            R[n, first : first + 15] = hand_pose(model, names[rng.integers(len(names))], side).numpy()
    return R


def report_poses(
    study: Study, body: Free, coefficients: np.ndarray, betas: np.ndarray, R: np.ndarray, keep: np.ndarray
) -> None:
    source, tposed = study.source, study.tposed
    middle = reference(source, tposed, study.coefficients.mean(0))
    on_mean = np.stack([gaps(body.posed(body.a.v_template, r), middle.posed(r))[keep] for r in R])
    line("added by posing: mean body, body + hands + jaw", on_mean, "aim <= 4 mean")
    hands = np.union1d(body.a.regions["left_hand"], body.a.regions["right_hand"])
    line("  of it on the hands", on_mean[:, np.isin(keep, hands)])
    line("  of it on the head", on_mean[:, np.isin(keep, body.a.regions["head"])])
    posed, flat = [], []
    for c, b, r in zip(coefficients, betas, R, strict=True):
        person = reference(source, tposed, c)
        rest = body.rest(b)
        posed.append(gaps(body.posed(rest, r), person.posed(r))[keep])
        flat.append(gaps(rest, person.tpose)[keep])
    line("random people, 10 betas, T-pose", np.stack(flat))
    line("the same people, posed", np.stack(posed))
    print(f"  added by posing, difference of the two means: {np.mean(posed) - np.mean(flat):.2f} mm")
    gap = own_code_gap(source, middle, R[0])
    print(f"  our skinning against the anny package's own, same bone motions: {gap:.1e} mm")


def own_code_gap(source: Source, person: Reference, R: np.ndarray) -> float:
    """Largest distance between our posing of Anny and that of the package, given the same bone poses."""
    from openexpose.body.build_free.binding import bone_motions
    from openexpose.body.build_free.kinematics import compose

    motion = compose(bone_motions(person.bones, person.parents, R, person.joints), person.to_tpose)
    axes = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # Anny's (x, y, z) to ours
    world = np.tile(np.eye(4), (len(motion), 1, 1))
    world[:, :3, :3] = axes.T @ motion[..., :3] @ axes
    world[:, :3, 3] = motion[..., 3] @ axes
    vertices = torch.from_numpy((person.rest @ axes)[None])
    ours = person.posed(R)
    full = source.model.get_skinned_vertices
    weights = torch.from_numpy(source.weights)
    source.model.dense_vertex_bone_weights = weights
    theirs = full(vertices, torch.from_numpy(world[None]))[0].numpy() @ axes.T
    return float(gaps(theirs, ours).max())


def report_parts(study: Study, body: Free, R: np.ndarray) -> None:
    hand, head = free.load_hand(), free.load_head()
    for name, part, ids, root, children in (
        ("FreeHand on FreeBody", hand, body.a.regions["right_hand"], "right_wrist", list(range(40, 55))),
        ("FreeHead on FreeBody", head, body.a.regions["head"], "neck", [15, 22, 23, 24]),
    ):
        out = []
        for r in R:
            whole = body.posed(body.a.v_template, r)[ids]
            local = np.concatenate([np.eye(3)[None], r[children]])
            features = (local[1:] - np.eye(3)).reshape(-1)[part.pose_features]
            joints = part.J_regressor @ part.v_template
            motion = chain(local, joints, tuple(part.parents.tolist()))
            mine = skin(part.v_template + part.posedirs @ features, part.weights, motion)
            G = chain(r, body.a.J_regressor @ body.a.v_template, PARENTS)[joint(root)]
            out.append(gaps(mine @ G[:, :3].T + G[:, 3], whole))
        line(f"{name}, same parameters, aligned at the root joint", np.stack(out), "aim <= 1")
    heads = head_people(study, body.a.regions["head"], joint("neck"))[-300:] + (head.J_regressor @ head.v_template)[0]
    betas = shape_coefficients(heads, head.v_template, head.shapedirs)
    made = head.v_template + np.einsum("vck,nk->nvc", head.shapedirs, betas, optimize=True)
    line("FreeHead, random heads with local changes, 100 betas", gaps(made, heads))


def report_rounding(study: Study, body: Free) -> None:
    surface, face = make_surface(study)
    rng = np.random.default_rng(5)
    b = rng.normal(0, 1, (100, 10))
    exact, stored = (d @ b.T for d in (surface.shapedirs, body.a.shapedirs))
    line("rounding in the file: shapes of random betas", gaps(np.moveaxis(exact, 2, 0), np.moveaxis(stored, 2, 0)))
    head = free.load_head()
    e = rng.normal(0, 1, (100, 50))
    exact, stored = surface.exprdirs[surface.regions["head"]] @ e.T, head.exprdirs @ e.T
    line("rounding in the file: random expressions", gaps(np.moveaxis(exact, 2, 0), np.moveaxis(stored, 2, 0)))
    f = (rotation(rng.normal(0, 0.5, (100, 54, 3))) - np.eye(3)).reshape(100, -1)[:, body.a.pose_features]
    exact, stored = surface.posedirs @ f.T, body.a.posedirs @ f.T
    line("rounding in the file: correctives of random poses", gaps(np.moveaxis(exact, 2, 0), np.moveaxis(stored, 2, 0)))
    print(f"expression energy kept by 10 components {face.energy[9]:.1%}, by 50 {face.energy[49]:.4%}")
    print("mirror pairs of joints: " + str(sum(other_side(n) != n for n in JOINTS) // 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--poses", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(2)
    study = prepare(load_source())
    body = Free(free.load_body())
    mouth = np.concatenate([study.source.groups[g] for g in ("tongue", "upper_teeth", "lower_teeth")])
    keep = np.setdiff1d(np.arange(len(body.a.v_template)), mouth)
    coefficients = study.source.coefficients(sample_adults(study.source, args.people, 77))
    rng = np.random.default_rng(78)
    print(f"{'millimetres':<66} {'mean':>7} {'p95':>8} {'max':>8}")
    betas = report_shapes(study, body, coefficients, keep)
    R = poses(args, args.people, rng)
    report_poses(study, body, coefficients, betas, R, keep)
    report_parts(study, body, R[:40])
    report_rounding(study, body)


if __name__ == "__main__":
    main()
