"""Names and shapes of the foreign checkpoints, spelt out from the key grammar (spec 2.4; original release A4).

`{key: shape}`; integer tensors are those whose key ends in _idxs, num_batches_tracked, or stands in INTEGER.
"""

from collections.abc import Iterator

Shapes = dict[str, tuple[int, ...]]
BN = {"weight", "bias", "running_mean", "running_var"}
BRANCHES = (48, 96, 192, 384)
BODY_INDEX = {
    "global_orient": 6, "body_pose": 126, "left_hand_pose": 90, "right_hand_pose": 90, "jaw_pose": 6, "shape": 10,
    "expression": 10, "camera": 3,
}  # fmt: skip
HAND_INDEX = {"global_orient": 6, "right_hand_pose": 90, "shape": 10, "camera": 3}
FACE_INDEX = {"global_orient": 6, "jaw_pose": 6, "shape": 100, "expression": 50, "camera": 3}
INTEGER = ("_idxs", "num_batches_tracked", "faces_tensor", "parents", "lmk_faces_idx", "neck_kin_chain")


def conv(name: str, out: int, into: int, k: int, *, bias: bool = False) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (out, into, k, k)
    if bias:
        yield f"{name}.bias", (out,)


def norm(name: str, c: int, *, counter: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from ((f"{name}.{leaf}", (c,)) for leaf in ("weight", "bias", "running_mean", "running_var"))
    if counter:
        yield f"{name}.num_batches_tracked", ()


def _basic(name: str, into: int, out: int, counter: bool, shortcut: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from conv(f"{name}.conv1", out, into, 3)
    yield from norm(f"{name}.bn1", out, counter=counter)
    yield from conv(f"{name}.conv2", out, out, 3)
    yield from norm(f"{name}.bn2", out, counter=counter)
    if shortcut:
        yield from conv(f"{name}.downsample.0", out, into, 1)
        yield from norm(f"{name}.downsample.1", out, counter=counter)


def _bottleneck(name: str, into: int, planes: int, counter: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    for i, (a, b, k) in enumerate(((into, planes, 1), (planes, planes, 3), (planes, 4 * planes, 1)), start=1):
        yield from conv(f"{name}.conv{i}", b, a, k)
        yield from norm(f"{name}.bn{i}", b, counter=counter)


def _module(name: str, n: int, outputs: int, counter: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    """One HR module of n branches; the original's last one fuses into its first output only."""
    for b in range(n):
        for k in range(4):
            yield from _basic(f"{name}.branches.{b}.{k}", BRANCHES[b], BRANCHES[b], counter, shortcut=False)
    for i in range(outputs):
        for j in range(n):
            fuse = f"{name}.fuse_layers.{i}.{j}"
            if j > i:
                yield from conv(f"{fuse}.0", BRANCHES[i], BRANCHES[j], 1)
                yield from norm(f"{fuse}.1", BRANCHES[i], counter=counter)
            for k in range(i - j):
                out = BRANCHES[i] if k == i - j - 1 else BRANCHES[j]
                yield from conv(f"{fuse}.{k}.0", out, BRANCHES[j], 3)
                yield from norm(f"{fuse}.{k}.1", out, counter=counter)


def hrnet_trunk(*, counter: bool, stage4_last_outputs: int = 4) -> Shapes:
    """HRNet-W48 with its stage 4, as an ImageNet or pose checkpoint has it, without any head."""
    out = dict(conv("conv1", 64, 3, 3)) | dict(norm("bn1", 64, counter=counter))
    out |= dict(conv("conv2", 64, 64, 3)) | dict(norm("bn2", 64, counter=counter))
    for i in range(4):
        out |= dict(_bottleneck(f"layer1.{i}", 64 if i == 0 else 256, 64, counter))
    out |= dict(conv("layer1.0.downsample.0", 256, 64, 1)) | dict(norm("layer1.0.downsample.1", 256, counter=counter))
    for name, into, c in (
        ("transition1.0", 256, 48), ("transition1.1.0", 256, 96), ("transition2.2.0", 96, 192),
        ("transition3.3.0", 192, 384),
    ):  # fmt: skip
        out |= dict(conv(f"{name}.0", c, into, 3)) | dict(norm(f"{name}.1", c, counter=counter))
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        for m in range(modules):
            outputs = stage4_last_outputs if (stage, m) == (4, 2) else stage
            out |= dict(_module(f"stage{stage}.{m}", stage, outputs, counter))
    return out


def body_tail(*, counter: bool) -> Shapes:
    """What ExPose adds to the trunk, and runs."""
    out: Shapes = {}
    for i in range(5):
        into = 1152 if i == 0 else 2048
        out |= dict(_bottleneck(f"conv_layers.{i}", into, 512, counter))
        out |= dict(conv(f"conv_layers.{i}.downsample", 2048, into, 1))
    for name, pairs in (("subsample_3", ((96, 192), (192, 384))), ("subsample_2", ((192, 384),))):
        for k, (a, b) in enumerate(pairs):
            out |= dict(conv(f"{name}.{3 * k}", b, a, 3, bias=True)) | dict(
                norm(f"{name}.{3 * k + 1}", b, counter=counter)
            )
    return out


def dead_body(*, counter: bool) -> Shapes:
    """What the port builds beside stage 4 and never runs."""
    out = dict(conv("final_layer", 24, 48, 1, bias=True))
    for s, (c, times) in enumerate(((48, 3), (96, 2), (192, 1)), start=1):
        for k in range(times):
            name = f"downsample_stage_{s}.{3 * k}"
            out |= dict(conv(name, c, c, 3))
            out |= dict(norm(f"downsample_stage_{s}.{3 * k + 1}", c, counter=counter))
    return out


def resnet18(*, counter: bool = True, fc: bool = False) -> Shapes:
    """torchvision's ResNet-18."""
    out = dict(conv("conv1", 64, 3, 7)) | dict(norm("bn1", 64, counter=counter))
    into = 64
    for layer, c in enumerate((64, 128, 256, 512), start=1):
        for k in range(2):
            out |= dict(_basic(f"layer{layer}.{k}", into, c, counter, shortcut=layer > 1 and k == 0))
            into = c
    return out | ({"fc.weight": (1000, 512), "fc.bias": (1000,)} if fc else {})


def regressor(features: int, dim: int, *, blocks: bool = True, layers: bool = True) -> Shapes:
    """The iterative regressor; the port registers each hidden layer twice, the original once (`layer_00N`)."""
    out: Shapes = {"mean_param": (1, dim)}
    for i, into in enumerate((features + dim, 1024)):
        for name in ([f"blocks.{i}.0"] if blocks else []) + ([f"layer_{i:03d}.0"] if layers else []):
            out |= {f"module.{name}.weight": (1024, into), f"module.{name}.bias": (1024,)}
    return out | {"module.output_layer.weight": (dim, 1024), "module.output_layer.bias": (dim,)}


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + k: v for k, v in shapes.items()}


def _head(features: int, index: dict[str, int]) -> Shapes:
    dim = sum(index.values())
    return {f"{k}_idxs": (n,) for k, n in index.items()} | _under("regressor.", regressor(features, dim))


def _body_backbone(*, counter: bool) -> Shapes:
    return hrnet_trunk(counter=counter) | body_tail(counter=counter) | dead_body(counter=counter)


def smplx_buffers() -> Shapes:
    return {
        "shapedirs": (10475, 3, 10), "expr_dirs": (10475, 3, 10), "faces_tensor": (20908, 3), "v_template": (10475, 3),
        "J_regressor": (55, 10475), "posedirs": (486, 31425), "parents": (55,), "lbs_weights": (10475, 55),
        "left_hand_mean": (45,), "right_hand_mean": (45,), "pose_mean": (165,), "lmk_faces_idx": (51,),
        "lmk_bary_coords": (51, 3), "dynamic_lmk_faces_idx": (79, 17), "dynamic_lmk_bary_coords": (79, 17, 3),
        "neck_kin_chain": (5,), "vertex_joint_selector.extra_joints_idxs": (21,),
    }  # fmt: skip


def flame_buffers() -> Shapes:
    return {
        "body_pose": (1, 69), "transl": (1, 3), "shapedirs": (5023, 3, 100), "expr_dirs": (5023, 3, 50),
        "faces_tensor": (9976, 3), "v_template": (5023, 3), "J_regressor": (5, 5023), "posedirs": (36, 15069),
        "parents": (5,), "lbs_weights": (5023, 5), "lmk_faces_idx": (51,), "lmk_bary_coords": (51, 3),
        "dynamic_lmk_faces_idx": (79, 17), "dynamic_lmk_bary_coords": (79, 17, 3), "neck_kin_chain": (1,),
        "vertex_joint_selector.extra_joints_idxs": (0,),
    }  # fmt: skip


def mano_buffers() -> Shapes:
    return {
        "body_pose": (1, 3), "shapedirs": (778, 3, 10), "faces_tensor": (1538, 3), "v_template": (778, 3),
        "J_regressor": (16, 778), "posedirs": (135, 2334), "parents": (16,), "lbs_weights": (778, 16),
        "hand_mean": (45,), "pose_mean": (48,), "vertex_joint_selector.extra_joints_idxs": (5,),
    }  # fmt: skip


def _models(train: Shapes, test: Shapes) -> Shapes:
    return _under("body_model_train.", train) | _under("body_model_test.", test)


def mmhuman3d(which: str) -> Shapes:
    """Checkpoint layout of the port: which = body, face, hand, expose."""
    bodies = {
        "body": _models(smplx_buffers(), smplx_buffers() | {"joints_regressor": (14, 10475)}),
        "face": _models(flame_buffers(), flame_buffers()),
        "hand": _models(mano_buffers(), mano_buffers()),
    }
    hand, face = _head(512, HAND_INDEX), _head(512, FACE_INDEX)
    if which == "hand":
        return _under("backbone.", resnet18()) | _under("head.", hand) | bodies["hand"]
    if which == "face":
        return _under("backbone.", resnet18()) | _under("head.", face) | bodies["face"]
    whole = which == "expose"
    body = _under("backbone.", _body_backbone(counter=not whole)) | _under("head.", _head(2048, BODY_INDEX))
    if not whole:
        return body | bodies["body"]
    parts = _under("hand_backbone.", resnet18()) | _under("hand_head.", hand)
    parts |= _under("face_backbone.", resnet18()) | _under("face_head.", face)
    return body | parts | bodies["body"]


def original() -> Shapes:
    """The release's `model.ckpt` (A4): one `smplx.` tree, body batch norms without counters, a model inside."""
    body = hrnet_trunk(counter=False, stage4_last_outputs=1) | body_tail(counter=False)
    out = _under("backbone.", body) | _under("regressor.", regressor(2048, 341, blocks=False))
    for part, dim in (("hand_predictor", 109), ("head_predictor", 165)):
        out |= _under(f"{part}.backbone.", resnet18())
        out |= _under(f"{part}.regressor.", regressor(512, dim, blocks=False))
    out |= _under("body_model.", smplx_buffers()) | {"body_model.extra_joint_regressor": (3, 10475)}
    out |= _under("hand_predictor.hand_model.", mano_buffers()) | _under("head_predictor.head_model.", flame_buffers())
    poses = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
    out |= {f"{p}_decoder.mean": (6,) for p in poses} | {f"{k}_idxs": (n,) for k, n in BODY_INDEX.items()}
    out |= {"head_idxs": (77,), "right_wrist_kin_chain": (8,), "left_wrist_kin_chain": (8,)}
    out |= {"hand_cropper.grid": (1, 224, 224, 2), "head_cropper.grid": (1, 256, 256, 2)}
    out |= {"hand_predictor.hand_offset": (1,), "keyp_loss.weights": (1,), "hand_predictor.pca_decoder.mean": (45,)}
    return _under("smplx.", out)
