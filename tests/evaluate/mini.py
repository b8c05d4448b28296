"""Miniature data trees of the four benchmarks: raw data sets in their own formats, converted, and toy body models."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import tests.raw_trees.freihand as raw_freihand
from openexpose.body import BodyModel, ModelArrays
from openexpose.body.files import write_model
from openexpose.body.load import load_model
from openexpose.cli.main import main
from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from openexpose.evaluate.run import Name, Prepared, Result, Setup, predict, prepare, score
from openexpose.geometry.rotations import axis_angle_to_matrix
from openexpose.nets.params import BodyParams, HandParams, HeadParams
from openexpose.skeleton import Skeleton
from tests.raw_trees.ehf import write_ehf
from tests.raw_trees.people import Person, person
from tests.raw_trees.pw3d import write_pw3d
from tests.raw_trees.stirling import write_stirling
from tests.tiny_weights import save_tiny
from toy_models import toy_mano, toy_smpl, toy_smplx

UPRIGHT = np.array([np.pi, 0, 0])


@dataclass(frozen=True, eq=False)
class Mini:
    """A data tree with one benchmark in it, and the params that the truth was made of, row by row."""

    tree: Path
    weights: Path
    params: BodyParams | HandParams | HeadParams

    def setup(self, out: Path, **changes: object) -> Setup:
        """Tiny random weights on the whole benchmark, two rows at a time."""
        base = Setup(self.weights, self.tree, out, trained_on="licensed", batch=2, fast=False)
        return replace(base, **changes)

    def prepared(self, name: Name, out: Path, **changes: object) -> Prepared:
        return prepare(name, self.setup(out, **changes))

    def oracle(self, name: Name, out: Path, **changes: object) -> Result:
        """The truth fed as prediction through the whole path."""
        p = self.prepared(name, out, **changes)
        p = replace(p, cast=replace(p.cast, answerer=Oracle(self.params, p.cast.answerer.crop_px)))
        predict(p)
        return score(p)


@dataclass(frozen=True, eq=False)
class Oracle:
    """Answers with the truth. It looks at no picture."""

    params: BodyParams | HandParams | HeadParams
    crop_px: int

    def __call__(self, rows: Sequence[int], photos: object, crops: object) -> tuple[object, Tensor]:
        take = list(rows)
        some = {f.name: getattr(self.params, f.name)[take] for f in fields(self.params)}
        return type(self.params)(**some), torch.tensor([[0.9, 0.0, 0.0]]).expand(len(take), 3)


def values(result: Result) -> dict[str, float]:
    return {s.name: s.value for o in result.outcomes for s in o.scores}


def R(aa: NDArray[np.floating]) -> Tensor:
    return axis_angle_to_matrix(torch.from_numpy(np.asarray(aa, np.float64))).float()


def f32(x: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(x)).float()


def body_params(n: int, seed: int) -> BodyParams:
    rng = np.random.default_rng(seed)
    return BodyParams(
        R(UPRIGHT + rng.normal(0, 0.2, (n, 3))),
        R(rng.normal(0, 0.15, (n, 21, 3))),
        R(rng.normal(0, 0.1, (n, 15, 3))),
        R(rng.normal(0, 0.1, (n, 15, 3))),
        R(rng.normal(0, 0.05, (n, 3))),
        f32(rng.standard_normal((n, 10))),
        f32(rng.standard_normal((n, 10))),
    )


def to_store(name: str, root: Path, *outputs: str) -> None:
    """Convert a raw tree of `tree/datasets/...` into `tree/preprocessed_datasets`."""
    tree = root.parents[1]
    found = convert(
        name, Options(root, body_models=tree / "body_models"), tree / "preprocessed_datasets", outputs=outputs
    )
    assert [p for o in found for p in o.problems] == []


def mini_ehf(tree: Path, count: int = 3) -> Mini:
    arrays = toy_smplx(2, V=400)
    write_model(arrays, tree / "body_models/smplx/SMPLX_NEUTRAL.safetensors", dtype="float32")
    model = load_model(tree / "body_models/smplx/SMPLX_NEUTRAL.safetensors")
    for name in ("MANO_SMPLX_vertex_ids.pkl", "SMPL-X__FLAME_vertex_ids.npy", "SMPLX_to_J14.npy"):
        (tree / "body_models" / name).write_bytes(b"")  # our own model file holds their contents already
    params = body_params(count, seed=5)
    posed = model.shape(params.betas, params.expression).pose(
        params.R_parent_child(), torch.tensor([[0, 0, 3.0]] * count)
    )
    points, vertices = posed.keypoints_m().double().numpy(), posed.skin().vertices_m.double().numpy()
    people = [
        replace(person(0, drawn=False), points_m=dict(zip(model.keypoint_names, points[i], strict=True)),
                vertices_m=vertices[i], faces=model.faces.numpy())
        for i in range(count)
    ]  # fmt: skip
    truth = write_ehf(tree / "datasets/EHF", people, drawn=False)
    for i, t in enumerate(truth):  # EHF.zip has the scans beside the photos, in the frame of the meshes
        _write_scan(tree / f"datasets/EHF/{i + 1:02d}_scan.obj", t["vertices_m"], model)
    to_store("ehf", tree / "datasets/EHF")
    return Mini(tree, save_tiny(tree / "tiny.safetensors"), params)


def _write_scan(path: Path, vertices_m: NDArray[np.float64], model: BodyModel) -> None:
    from tests.raw_trees.ehf import R_CAMERA_SCAN, T_CAMERA_SCAN_M

    share = np.random.default_rng(0).dirichlet([1.0, 1, 1], 300)
    corners = vertices_m[model.faces.numpy()[np.arange(300) % len(model.faces)]]
    points = (np.einsum("sc,scx->sx", share, corners) - T_CAMERA_SCAN_M) @ R_CAMERA_SCAN
    path.write_text("".join(f"v {x:.9f} {y:.9f} {z:.9f}\n" for x, y, z in points))


def twins_of_smpl(smpl: ModelArrays, V: int = 200) -> ModelArrays:
    """A SMPL-X lookalike whose first vertices and 22 joints are those of a SMPL, and whose J14 is its h36m regressor:
    the same parameters give the same 14 joints."""
    n, twin = len(smpl.v_template), toy_smplx(9, V=V)
    arrays = {
        k: getattr(twin, k).copy()
        for k in ("v_template", "shapedirs", "posedirs", "exprdirs", "weights", "J_regressor")
    }
    arrays["v_template"][:n], arrays["shapedirs"][:n] = smpl.v_template, smpl.shapedirs
    arrays["posedirs"][:n] = arrays["exprdirs"][:n] = arrays["weights"][:n] = 0
    arrays["weights"][:n, :22] = smpl.weights[:, :22]
    arrays["weights"][:n, 20:22] += smpl.weights[:, 22:]  # hands follow the wrists
    arrays["J_regressor"][:22] = 0
    arrays["J_regressor"][:22, :n] = smpl.J_regressor[:22]
    j14 = np.zeros((14, V))
    j14[:, :n] = Skeleton.read("h36m").map_to(Skeleton.read("lsp"))(smpl.regressors["h36m"])
    return replace(twin, **arrays, regressors={"j14": j14})


def mini_pw3d(tree: Path) -> Mini:
    smpl = replace(toy_smpl(1), posedirs=np.zeros_like(toy_smpl(1).posedirs))
    other = toy_smpl(3)
    folder = tree / "body_models/smpl"
    for gender, arrays in (("male", smpl), ("female", smpl), ("neutral", other)):
        write_model(replace(arrays, gender=gender), folder / f"SMPL_{gender.upper()}.safetensors", dtype="float64")
    write_model(twins_of_smpl(smpl), tree / "body_models/smplx/SMPLX_NEUTRAL.safetensors", dtype="float64")
    for name in ("J_regressor_h36m.npy", "SMPLX_to_J14.npy"):
        (tree / "body_models" / name).write_bytes(b"")
    people: list[list[Person]] = [[person(0, drawn=False), person(1, drawn=False)], [person(2, drawn=False)]]
    truth = write_pw3d(tree / "datasets/3DPW", people, drawn=False)  # the second of three frames has no camera
    to_store("pw3d", tree / "datasets/3DPW")
    orient, body, betas = [], [], []
    for sequence in sorted(truth):
        t = truth[sequence]
        for p in range(len(t["shape"])):
            for frame in (0, 2):
                orient.append(t["global_orient"][p, frame])
                body.append(t["body_pose"][p].reshape(23, 3)[:21])
                betas.append(t["shape"][p])
    n, zero = len(betas), np.zeros
    params = BodyParams(
        R(np.stack(orient)), R(np.stack(body)), R(zero((n, 15, 3))), R(zero((n, 15, 3))), R(zero((n, 3))),
        f32(np.stack(betas)), torch.zeros(n, 10),
    )  # fmt: skip
    return Mini(tree, save_tiny(tree / "tiny.safetensors"), params)


def mini_freihand(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Mini:
    file = tree / "body_models/mano/MANO_RIGHT.safetensors"
    write_model(toy_mano(3), file, dtype="float32")
    model = load_model(file)
    monkeypatch.setattr(raw_freihand, "load_model", lambda name: model)
    raw_freihand.write_means(tree / "body_models")
    truth = raw_freihand.write_freihand(tree / "datasets/FreiHand", training=1, evaluation=3, drawn=False)
    to_store("freihand", tree / "datasets/FreiHand", "freihand_test")
    hands = truth["evaluation"]
    params = HandParams(R(hands.global_orient), R(hands.hand_pose), f32(hands.betas))
    return Mini(tree, save_tiny(tree / "tiny.safetensors"), params)


def mini_stirling(tree: Path) -> Mini:
    """FreeHead is scored as it is: no licensed file is needed."""
    faces = write_stirling(tree / "datasets/stirling", photos_each=1)
    to_store("stirling", tree / "datasets/stirling", "stirling_ESRC3D_HQ")
    betas = np.stack([faces.betas[p.split("_")[0]] for p in faces.photos["HQ"]])
    n = len(betas)
    turns = R(np.stack([faces.turns_rad[p] for p in faces.photos["HQ"]]))
    params = HeadParams(turns, R(np.zeros((n, 3))), f32(betas), torch.zeros(n, 50))
    return Mini(tree, save_tiny(tree / "tiny.safetensors"), params)


def command_as_rank(args: Sequence[str], rank: int, port: int) -> None:
    """`openexpose ARGS` as one of two processes, with the environment that torchrun gives them."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ |= {k: str(v) for k, v in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    torch.set_num_threads(1)
    status = main(args)
    assert torch.distributed.get_backend() == "gloo" and torch.distributed.get_world_size() == 2
    torch.distributed.destroy_process_group()
    sys.exit(status)
