"""Training runs by name. A preset is a function; variants differ by `replace`.

The four of the reference carry its values and its quirks (spec 7); `lite_*` train the small networks from scratch on
the free body models; `toy` is the whole machinery in a minute on a CPU.
"""

from collections.abc import Callable
from dataclasses import replace

from openexpose.train.config import (
    CloseupConfig,
    DataConfig,
    DisturbConfig,
    FreezeConfig,
    LossWeights,
    OptimiserConfig,
    TrainConfig,
)

ALL_LOSSES = LossWeights(
    keypoints2d=1.0,
    keypoints3d=1.0,
    global_orient=1.0,
    body_pose=1.0,
    jaw_pose=1.0,
    left_hand_pose=1.0,
    right_hand_pose=1.0,
    betas=0.001,
    expression=1.0,
    betas_prior=1.0,
)


def hrnet_hmr_expose_body() -> TrainConfig:
    """The body network of ExPose: HRNet-W48 on curated fits, SPIN-in-SMPL-X and Human3.6M."""
    return TrainConfig(
        preset="hrnet_hmr_expose_body",
        network="expose-body",
        stage="body",
        data=DataConfig(
            train=("curated_fits_train", "spin_smplx_train", "h36m_train"),
            shares=(0.08, 0.12, 0.8),
            held_out=0.01,
            reference_quirks=True,
        ),
        losses=ALL_LOSSES,
        body_model="tree",
        imagenet=True,
        batch_size=48,
        workers=8,
    )


def resnet18_hmr_expose_face() -> TrainConfig:
    """The head network of ExPose: ResNet-18 on FFHQ."""
    return replace(
        hrnet_hmr_expose_body(),
        preset="resnet18_hmr_expose_face",
        network="expose-head",
        stage="head",
        data=DataConfig(train=("ffhq_flame_train",), shares=(1.0,), held_out=0.01, reference_quirks=True),
        losses=LossWeights(keypoints2d=1.0, global_orient=1.0, jaw_pose=1.0, expression=1.0, betas_prior=1.0),
        batch_size=64,
    )


def resnet18_hmr_expose_hand() -> TrainConfig:
    """The hand network of ExPose: ResNet-18 on FreiHAND."""
    return replace(
        hrnet_hmr_expose_body(),
        preset="resnet18_hmr_expose_hand",
        network="expose-hand",
        stage="hand",
        data=DataConfig(train=("freihand_train",), shares=(1.0,), evaluate=("freihand_val",), reference_quirks=True),
        losses=LossWeights(keypoints2d=1.0, global_orient=1.0, right_hand_pose=1.0, betas_prior=1.0),
        batch_size=64,
    )


def expose() -> TrainConfig:
    """All three networks on curated fits, the body frozen. Starts from the weights of the three presets above."""
    return replace(
        hrnet_hmr_expose_body(),
        preset="expose",
        network="expose",
        stage="whole",
        data=DataConfig(train=("curated_fits_train",), shares=(1.0,), held_out=0.01, reference_quirks=True),
        losses=replace(ALL_LOSSES, hand_crops=1.0, head_crop=1.0),
        freeze=FreezeConfig(parts=("body",), dropout=True),
        imagenet=False,
    )


SYNTH = DataConfig(train=("synth",), shares=(1.0,), held_out=0.01)
"""Rendered people: no file is needed."""
SMALL = OptimiserConfig(
    lr=6e-4, weight_decay=1e-4, decoupled=True, max_grad_norm=5.0, schedule="cosine", warmup_steps=200, average=0.999
)


def _small(preset: str, base: TrainConfig, losses: LossWeights, *, box_scale: float) -> TrainConfig:
    """One small network on a free body model. Real photos come in with `--data.train`."""
    return replace(
        base,
        preset=preset,
        network=preset.replace("_", "-"),
        data=replace(SYNTH, augment="strong", box_scale=box_scale),
        losses=losses,
        body_model="free",
        imagenet=False,
        optimiser=SMALL,
    )


def lite_body() -> TrainConfig:
    """The small body network, for FreeBody."""
    losses = LossWeights(
        keypoints2d=0.08, lsp2d=1.5, heatmaps=0.4, points2d=0.5, keypoints3d=0.12, global_orient=1.5, body_pose=0.4,
        jaw_pose=0.2, left_hand_pose=0.3, right_hand_pose=0.3, betas=0.1, expression=0.02, betas_prior=0.05, depths=0.3,
    )  # fmt: skip
    return _small("lite_body", hrnet_hmr_expose_body(), losses, box_scale=1.15)


def lite_head() -> TrainConfig:
    """The small head network, for FreeHead."""
    losses = LossWeights(
        keypoints2d=0.5, heatmaps=0.06, points2d=0.3, global_orient=2.0, jaw_pose=2.0, betas=0.01, expression=0.05,
        betas_prior=0.05,
    )  # fmt: skip
    disturb = DisturbConfig(probability=0.5, jaw_rad=0.25)
    return replace(_small("lite_head", resnet18_hmr_expose_face(), losses, box_scale=1.5), disturb=disturb)


def lite_hand() -> TrainConfig:
    """The small hand network, for FreeHand."""
    losses = LossWeights(
        keypoints2d=1.0, heatmaps=0.5, points2d=0.5, keypoints3d=6.0, global_orient=3.0, right_hand_pose=6.0,
        betas=0.01, betas_prior=0.05, depths=0.3,
    )  # fmt: skip
    disturb = DisturbConfig(probability=0.6, hand_turn_rad=1.2, finger_rad=0.6)
    return replace(_small("lite_hand", resnet18_hmr_expose_hand(), losses, box_scale=1.85), disturb=disturb)


def lite() -> TrainConfig:
    """The three small networks together, all of them learning, disturbed as in the original ExPose.

    Heatmaps of the body learn from the people, those of hands and head from close-ups.
    """
    base, hand, head = expose(), lite_hand(), lite_head()
    return replace(
        base,
        data=SYNTH,
        losses=replace(lite_body().losses, hand_crops=1.0, head_crop=1.0),
        closeups=CloseupConfig(
            hands=("synth",),
            heads=("synth",),
            hand_batch=16,
            head_batch=16,
            hand_losses=hand.losses,
            head_losses=head.losses,
        ),
        preset="lite",
        network="lite",
        body_model="free",
        optimiser=replace(SMALL, lr=1e-4),
        freeze=FreezeConfig(),
        disturb=DisturbConfig.original(),
        precision="bf16",
    )


def toy() -> TrainConfig:
    """Stick people and a tiny network: shows in a minute on a CPU that training works."""
    return TrainConfig(
        preset="toy",
        network="toy",
        stage="body",
        data=DataConfig(kind="toy", samples_per_epoch=4096),
        losses=LossWeights(
            keypoints2d=0.2, keypoints3d=0.5, global_orient=1.0, body_pose=0.2, betas=0.001, betas_prior=1.0
        ),
        optimiser=OptimiserConfig(lr=2e-3, weight_decay=0.0, max_grad_norm=5.0, schedule="cosine", warmup_steps=20),
        steps=600,
        batch_size=32,
        workers=0,
        log_every=20,
        eval_every=200,
        eval_batches=8,
        save_every=100,
        best_by="joints_mm",
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    preset.__name__: preset
    for preset in (
        hrnet_hmr_expose_body,
        resnet18_hmr_expose_face,
        resnet18_hmr_expose_hand,
        expose,
        lite_body,
        lite_head,
        lite_hand,
        lite,
        toy,
    )
}
"""Name -> function; what `openexpose train NAME` knows."""
