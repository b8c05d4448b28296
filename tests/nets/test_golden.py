"""The networks against stored numbers of the reference (OPENEXPOSE_GOLDEN). Bounds: issue 3 and golden/README.md."""

import numpy as np
import pytest
import torch

from golden_assets import golden_assets
from nets import golden
from nets.golden import worst
from openexpose.body import load_model
from openexpose.geometry.crop import normalise
from openexpose.nets.attention import Look, Squares
from openexpose.nets.regressor import PartRegressor

pytestmark = pytest.mark.golden
CASES = ["forward_expose", "forward_expose_border"]
PARTS = [("body", "body", 256), ("hand", "hand", 224), ("head", "face", 256)]
PROBES = {
    "body": "bn1 layer1 transition1.0 transition1.1 transition2.2 transition3.3 subsample_2 subsample_3 "
    "conv_layers.0 conv_layers.4",
    "hand": "bn1 maxpool layer1 layer2 layer3 layer4",
    "face": "bn1 maxpool layer1 layer2 layer3 layer4",
}


@pytest.fixture(scope="session")
def probed(golden_expose):
    """group -> (features, module name -> output) of the backbone images."""
    kept = {}

    def run(part: str, group: str, size: int):
        if group not in kept:
            seeds = golden.load("backbones")[f"{group}.in.image_seeds"]
            images = np.stack([golden.photo_rgb(s, (size, size), 12) for s in seeds])
            backbone, seen, hooks = getattr(golden_expose, part).backbone, {}, []
            for name in (*PROBES[group].split(), *(("stage2", "stage3") if group == "body" else ())):

                def keep(_m, _i, out, name=name):
                    seen[name] = [o.clone() for o in out] if isinstance(out, list) else out.clone()

                hooks.append(backbone.get_submodule(name).register_forward_hook(keep))
            with torch.inference_mode():
                features = backbone(normalise(torch.from_numpy(images)))
            for hook in hooks:
                hook.remove()
            kept[group] = (features, seen)
        return kept[group]

    return run


@pytest.mark.parametrize(("part", "group", "size"), PARTS)
def test_backbone_features(probed, part, group, size):
    want = golden.load("backbones")[f"{group}.features"]
    features, _ = probed(part, group, size)
    assert worst(features, want) <= 1e-4 * np.abs(want).max()  # relative to the largest feature


@pytest.mark.parametrize(("part", "group", "size"), PARTS)
def test_modules_on_the_way(probed, part, group, size):
    """Parity rows 1 and 11: the tail reads stage 3 and transition 3; stored batch statistics."""
    z, (_, seen) = golden.load("backbones"), probed(part, group, size)
    outputs = {name: out for name, out in seen.items() if isinstance(out, torch.Tensor)}
    if group == "body":
        outputs |= {"stage2[0]": seen["stage2"][0], "stage2[1]": seen["stage2"][1]}
        outputs |= {"stage3[1]": seen["stage3"][1], "stage3[2]": seen["stage3"][2]}  # the finest, [0], is not computed
    assert len(outputs) >= 6
    for name, out in outputs.items():
        key = f"{group}.probe.{name}"
        assert list(out.shape) == z[f"{key}.shape"].tolist()
        flat = out.flatten(1).numpy()
        at = np.random.default_rng(flat.shape[1]).integers(0, flat.shape[1], 64)
        scale = np.abs(z[f"{key}.values"]).max()
        assert np.abs(flat[:, at] - z[f"{key}.values"]).max() <= 1e-4 * scale, name  # relative


@pytest.mark.parametrize(("part", "group", "size"), PARTS)
def test_regressors_and_codecs(golden_expose, part, group, size):
    """Parity rows 2, 3 and 4: the body's is linear; column-wise 6D; softplus camera. From the mean and from a start."""
    z, net = golden.load("heads"), getattr(golden_expose, part)
    for suffix, start in (("", None), ("_cond", torch.from_numpy(z[f"{group}.in.cond"]))):
        with torch.inference_mode():
            stages = net.regressor.stages(torch.from_numpy(z[f"{group}.in.features"]), start)
        assert worst(stages, z[f"{group}.stages{suffix}"]) <= 1e-4  # parameter units
        out = f"{group}.out{suffix}"
        if f"{out}.cam" not in z:
            continue
        estimate = net.codec.split(stages[-1])
        assert worst(estimate.camera, z[f"{out}.cam"]) <= 1e-4  # 1 / m and m
        for key in [k for k in z if k.startswith(f"{out}.param.")]:
            assert worst(getattr(estimate.params, key.rsplit(".", 1)[1]), z[key]) <= 1e-4, key  # rotation entries
        for key in [k for k in z if k.startswith(f"{out}.raw.")]:
            assert worst(net.codec.raw(stages[-1], key.rsplit(".raw_", 1)[1]), z[key]) <= 1e-4, key


@pytest.mark.parametrize(("part", "group", "size"), PARTS)
def test_layouts_are_the_references(golden_expose, part, group, size):
    z, codec = golden.load("heads"), getattr(golden_expose, part).codec
    names = {"betas": "shape"}
    for name, first, end in codec.table():
        key = f"{group}.idxs.{names.get(name, name)}_idxs"
        assert z[key].tolist() == list(range(first, end)), name
    assert codec.size == z[f"{group}.mean_param"].shape[1]


@pytest.mark.parametrize(
    ("part", "group", "file", "points"),
    [
        ("body", "body", "smplx/SMPLX_NEUTRAL.npz", "j14"),
        ("hand", "hand", "mano/MANO_RIGHT.pkl", None),
        ("head", "face", "flame/FLAME_NEUTRAL.pkl", "face3d"),
    ],
)
def test_single_part_models(golden_expose, part, group, file, points):
    """Parity row 12 rides along: the hand's 21 points are in FreiHAND order."""
    z, net = golden.load(f"forward_{group}"), getattr(golden_expose, part)
    assert isinstance(net, PartRegressor)
    crops = normalise(torch.from_numpy(z["in.crop_u8_bgr"][..., ::-1].copy()))
    with torch.inference_mode():
        stages = net.regressor.stages(net.backbone(crops))
        estimate = net(crops)
        model = load_model(golden_assets() / "body_models" / file, num_betas=estimate.params.betas.shape[-1])
        posed = model.shape(*shape_of(estimate.params)).pose(estimate.params.R_parent_child())
        vertices_m = posed.skin().vertices_m.numpy()
        keypoints_m = posed.regressed_m("j14") if points == "j14" else posed.keypoints_m()
    assert worst(stages, z["stages"]) <= 1e-4  # parameter units
    assert worst(estimate.camera, z["out.camera"]) <= 1e-4  # 1 / m and m
    for key in [k for k in z if k.startswith("out.param.")]:
        assert worst(getattr(estimate.params, key.rsplit(".", 1)[1]), z[key]) <= 1e-4, key
    if points == "face3d":
        keypoints_m = keypoints_m[:, [24, 27, 30, 33, 21, 36, 42]]  # spec 4.3
    assert worst(keypoints_m, z["out.keypoints_3d"]) <= 1e-4  # m
    check_vertices(vertices_m, z, 1e-4)


@pytest.mark.parametrize("name", CASES)
def test_boxes(golden_runs, name):
    """Parity rows 6 and 7: 255 and 256, and the head found after the hands are merged."""
    z, (_, estimate) = golden.load(name), golden_runs(name)
    squares = (estimate.right_hand_square, estimate.left_hand_square, estimate.head_square)
    for part, square in zip(("right_hand", "left_hand", "face"), squares, strict=True):
        assert worst(square.centre_px, z[f"{part}.center"]) <= 1e-3  # photo px
        assert worst(square.side_px, z[f"{part}.bbox_size"]) <= 1e-3  # photo px
        assert worst(square.corners_px, z[f"{part}.box_xyxy"]) <= 1e-3  # photo px
    unit = "hand.crop_info.right_hand_crop_transform"
    assert worst(estimate.right_hand_square.T_photo_unit, z[unit][:, :2]) <= 1e-3  # photo px


@pytest.mark.parametrize("name", CASES)
def test_body_estimate_and_first_guesses(golden_expose, golden_runs, name):
    """Parity row 5: the right hand starts from raw numbers, the left from matrices."""
    z, (_, estimate) = golden.load(name), golden_runs(name)
    assert worst(estimate.body.vector, z["body.stages"][-1]) <= 1e-4  # parameter units
    with torch.inference_mode():
        assert worst(golden_expose.hand_start(estimate.body), z["hand.cond"]) <= 1e-4
        assert worst(golden_expose.head_start(estimate.body), z["face.cond"]) <= 1e-4


@pytest.mark.parametrize("name", CASES)
def test_later_stages_from_the_stored_starts_and_boxes(golden_expose, name):
    z, photos = golden.load(name), golden.photos(name)
    t = {k: torch.from_numpy(v) for k, v in z.items()}

    def cut(part: str, size: int) -> torch.Tensor:
        return Squares(t[f"{part}.center"], t[f"{part}.bbox_size"]).cut(photos, size)

    hands_seen = torch.cat([cut("right_hand", 224), cut("left_hand", 224).flip(-1)])
    for net, crops, key in (
        (golden_expose.hand, hands_seen, "hand"),
        (golden_expose.head, cut("face", 256), "face"),
    ):
        with torch.inference_mode():
            features = net.backbone(crops)
            stages = net.regressor.stages(features, t[f"{key}.cond"])
            estimate = net.codec.split(stages[-1])
        assert worst(features, z[f"{key}.features"]) <= 1e-4  # features are of order one
        assert worst(stages, z[f"{key}.stages"]) <= 1e-4  # parameter units
        assert worst(estimate.camera, z[f"{key}.cam"]) <= 1e-4
        for param in [k for k in z if k.startswith(f"{key}.param.")]:
            assert worst(getattr(estimate.params, param.rsplit(".", 1)[1]), z[param]) <= 1e-4, param


@pytest.mark.parametrize("name", CASES)
def test_merging_the_stored_hands(golden_expose, golden_runs, name):
    z, (look, estimate) = golden.load(name), golden_runs(name)
    hands = golden_expose.hand.codec.split(torch.from_numpy(z["hand.stages"][-1]))
    body = golden_expose.body.codec.split(torch.from_numpy(z["body.stages"][-1]))
    merged, used = golden_expose.merge_hands(body.params, hands, estimate.head_square, estimate.head_square, look)
    assert used.all()
    for pose in ("body_pose", "left_hand_pose", "right_hand_pose"):
        assert worst(getattr(merged, pose), z[f"after_hand_merge.param.{pose}"]) <= 1e-5, pose  # rotation entries


@pytest.mark.parametrize("name", CASES)
def test_end_to_end(golden_expose, golden_runs, name):
    z, (_, estimate) = golden.load(name), golden_runs(name)
    for key in [k for k in z if k.startswith("out.param.")]:
        assert worst(getattr(estimate.params, key.rsplit(".", 1)[1]), z[key]) <= 3e-3, key  # rotation entries
    assert worst(estimate.camera, z["out.camera"]) <= 1e-4
    assert estimate.used_parts.all()
    with torch.inference_mode():
        posed = golden_expose.posed(estimate.params)
        check_vertices(posed.skin().vertices_m.numpy(), z, 5e-4)
        assert worst(posed.regressed_m("j14"), z["out.keypoints_3d"]) <= 5e-4  # m
        if "out.joints144" in z:
            assert worst(posed.keypoints_m(), z["out.joints144"]) <= 5e-4  # m


def test_the_batch_does_not_change_a_person(golden_expose, golden_runs):
    look, estimate = golden_runs("forward_expose")
    alone = Look(look.crops[1:2], look.photos[1:2], look.T_crop_photo[1:2], look.side_px[1:2])
    with torch.inference_mode():
        got = golden_expose(alone)
    assert worst(got.params.body_pose, estimate.params.body_pose[1:2].numpy()) <= 1e-3  # rotation entries
    assert worst(got.body.vector, estimate.body.vector[1:2].numpy()) <= 1e-4  # parameter units


def shape_of(params) -> tuple[torch.Tensor, torch.Tensor | None]:
    return params.betas, getattr(params, "expression", None)


def check_vertices(vertices_m: np.ndarray, z: dict[str, np.ndarray], tolerance_m: float) -> None:
    recipes = golden.recipes()
    sample = vertices_m[:, recipes.vertex_sample(vertices_m.shape[1])]
    assert np.abs(sample - z["out.vertices.sample"]).max() <= tolerance_m
    assert np.abs(recipes.vertex_projection(vertices_m) - z["out.vertices.proj"]).max() <= tolerance_m
