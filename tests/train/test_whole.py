"""The three networks together: freezing, dropout in frozen parts, disturbances, mixed batches."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from nets.tiny import tiny_points_config
from openexpose.body import BodyModel, Posed, load_model
from openexpose.errors import ConfigError, DataError
from openexpose.losses import total
from openexpose.losses.network import Target
from openexpose.nets.build import build_expose
from openexpose.nets.config import NetConfig, expose
from openexpose.nets.means import Means
from openexpose.skeleton import J14_EXTRAS
from openexpose.train import build
from openexpose.train.batch import Batch, Photos
from openexpose.train.config import CloseupConfig, DisturbConfig
from openexpose.train.learner import WholeLearner
from openexpose.train.presets import expose as expose_preset
from openexpose.train.presets import lite as lite_preset
from openexpose.train.run import train
from openexpose.train.side import PartSide
from openexpose.train.toy import StickPeople
from openexpose.train.whole import LearningExPose
from toy_models import toy_mano, toy_smplx
from train.runs import small

WANTED = tuple(expose_preset().losses.wanted())
B, K, CROP = 2, 144, 64


def tiny() -> NetConfig:
    """ExPose with three tiny backbones."""
    base = expose()
    small = {"backbone": "test_efficientnet_gn", "crop_px": CROP, "width": 32}
    body, hand, head = (replace(base.part(p), **small) for p in ("body", "hand", "head"))
    return replace(base, body=body, hand=hand, head=head)


def learner(
    *, frozen_dropout: bool = True, disturb: DisturbConfig | None = None, closeups: Sequence[PartSide] = ()
) -> WholeLearner:
    torch.manual_seed(0)
    model = BodyModel(toy_smplx(4))
    network = LearningExPose(build_expose(tiny(), model, means=Means()), disturb or DisturbConfig())
    return WholeLearner(
        network, tiny().part("body"), WANTED, frozen=("body",), frozen_dropout=frozen_dropout, closeups=closeups
    )


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    joints = {"body_pose": 21, "left_hand_pose": 15, "right_hand_pose": 15}
    values = {name: torch.eye(3).expand(B, n, 3, 3) for name, n in joints.items()}
    values |= {name: torch.eye(3).expand(B, 3, 3) for name in ("global_orient", "jaw_pose")}
    values |= {"betas": numbers(B, 10), "expression": numbers(B, 10)}
    values |= {"keypoints2d": torch.cat([CROP * numbers(B, K, 2), torch.ones(B, K, 1)], -1)}
    values |= {"keypoints3d": torch.cat([numbers(B, K, 3), torch.ones(B, K, 1)], -1)}
    pixels = [(255 * numbers(h, w, 3)).to(torch.uint8) for h, w in ((100, 80), (90, 120))]
    T_crop_photo = torch.tensor([[[0.5, 0, -5], [0, 0.5, -3]]]).expand(B, 2, 3)
    photos = Photos(pixels, T_crop_photo, torch.full((B,), 2.0 * CROP))
    return Batch(numbers(B, 3, CROP, CROP), {k: Target(v, torch.ones(B)) for k, v in values.items()}, photos=photos)


def answer(whole: WholeLearner, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return whole.answer(batch)[1]


def loss_of(whole: WholeLearner, batch: Batch) -> torch.Tensor:
    return total(whole(batch), {str(k): v for k, v in expose_preset().losses.wanted().items()})[0]


def test_only_what_is_not_frozen_gets_gradients(batch: Batch) -> None:
    whole = learner().train()
    loss_of(whole, batch).backward()
    for name, parameter in whole.network.named_parameters():
        if name.startswith("body."):
            assert parameter.grad is None
        else:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_dropout_in_the_frozen_body_is_a_switch(batch: Batch) -> None:
    for acts in (True, False):
        whole = learner(frozen_dropout=acts).train()
        for module in [*whole.network.hand.modules(), *whole.network.head.modules()]:
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        assert torch.equal(answer(whole, batch), answer(whole, batch)) is not acts
        assert whole.network.hand.training and whole.network.body.training is acts
    assert torch.equal(answer(whole.eval(), batch), answer(whole, batch))


def test_disturbances_act_in_training_only(batch: Batch) -> None:
    calm, wild = learner(), learner(disturb=DisturbConfig.original())
    assert torch.equal(answer(calm.eval(), batch), answer(wild.eval(), batch))
    body = wild.network.body(batch.crops)
    wild.train()
    calm.train()
    for start in ("hand_start", "head_start"):
        disturbed = torch.stack([getattr(wild.network, start)(body) for _ in range(20)])
        kept = getattr(calm.network, start)(body)
        changed = (disturbed != kept).flatten(2).any(-1)
        assert 0 < changed.float().mean() < 1  # each row only sometimes
        camera = wild.network.hand.codec if start == "hand_start" else wild.network.head.codec
        place = camera.slices["camera"]
        assert torch.equal(disturbed[..., place], kept[..., place].expand_as(disturbed[..., place]))


def test_people_without_2d_labels_do_not_disturb_the_others(batch: Batch) -> None:
    whole = learner().eval()
    both = {k: Target(t.value, torch.tensor([1.0, 0.0])) for k, t in batch.targets.items()}
    first = Batch(
        batch.crops[:1],
        {k: Target(t.value[:1], t.weight[:1]) for k, t in batch.targets.items()},
        photos=Photos(batch.photos.pixels[:1], batch.photos.T_crop_photo[:1], batch.photos.side_px[:1]),
    )
    with torch.no_grad():
        mixed, alone = whole(Batch(batch.crops, both, photos=batch.photos)), whole(first)
    for name in set(WANTED) - {"betas_prior"}:
        assert mixed[name].value.item() == pytest.approx(alone[name].value.item(), rel=1e-4), name  # float32


def test_no_loss_builds_vertices(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Posed) -> None:
        raise AssertionError("the whole mesh was built")

    monkeypatch.setattr(Posed, "skin", refuse)
    assert torch.isfinite(loss_of(learner().train(), batch))


def test_broken_weights_give_a_loss_that_is_no_number(batch: Batch) -> None:
    whole = learner()
    with torch.no_grad():
        whole.network.hand.regressor.output.weight.fill_(torch.nan)
    assert loss_of(whole, batch).isnan()


def hand_side(wanted: tuple[str, ...] = ("keypoints2d", "right_hand_pose")) -> PartSide:
    return PartSide("hand", tiny().part("hand"), BodyModel(toy_mano(4)), wanted, disturb=DisturbConfig())


def hands(count: int) -> Batch:
    return StickPeople(BodyModel(toy_mano(4)), "hands", crop_px=CROP, seed=2, samples_per_epoch=9).batch(range(count))


def test_close_ups_teach_their_network_alone(batch: Batch) -> None:
    whole = learner(closeups=[hand_side()]).eval()
    people = whole(batch)
    terms = whole(Batch(batch.crops, batch.targets, photos=batch.photos, closeups={"hand": hands(3)}))
    assert set(terms) - set(people) == {"hand/keypoints2d", "hand/right_hand_pose", "hand/points_px", "hand/joints_mm"}
    assert all(torch.equal(terms[name].summed, people[name].summed) for name in people)
    torch.testing.assert_close(
        terms["hand/keypoints2d"], hand_side().terms(whole.network.hand, hands(3))["keypoints2d"]
    )
    terms["hand/keypoints2d"].value.backward()
    touched = {name.split(".")[0] for name, p in whole.network.named_parameters() if p.grad is not None}
    assert touched == {"hand"} and not any(name.startswith("closeups") for name, _ in whole.named_parameters())


def test_heatmaps_of_the_body_learn_beside_the_rest(batch: Batch) -> None:
    torch.manual_seed(0)
    config, model, wanted = tiny_points_config(), load_model("free"), ("keypoints2d", "lsp2d", "heatmaps", "depths")
    network = LearningExPose(build_expose(config, model, means=Means()), DisturbConfig())
    whole = WholeLearner(network, config.part("body"), wanted, frozen=(), frozen_dropout=True)
    targets = dict(batch.targets)
    for name in ("keypoints2d", "keypoints3d"):  # LSP's own come after the model's
        value, weight = targets[name]
        targets[name] = Target(torch.cat([value, value[:, : len(J14_EXTRAS)]], 1), weight)
    people = Batch(batch.crops, targets, photos=batch.photos)
    terms = whole.train()(people)
    alone = PartSide("body", config.part("body"), model, wanted, disturb=DisturbConfig())
    torch.testing.assert_close(terms["heatmaps"], alone.terms(network.body, people)["heatmaps"])
    terms["heatmaps"].value.backward()
    touched = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert touched == {"body"} and terms["heatmaps"].value > 0
    with pytest.raises(ConfigError, match="points that are not there"):
        WholeLearner(network, tiny().part("body"), ("heatmaps",), frozen=(), frozen_dropout=True)


def test_photos_of_close_ups_are_one_folder_for_each_set(tmp_path: Path) -> None:
    closeups = CloseupConfig(hands=("synth", "synth"), hand_batch=1, hand_photos=("none",))
    config = replace(lite_preset(), closeups=closeups, init=(), workers=0)
    with pytest.raises(ConfigError, match="1 folders for 2 data sets"):
        build.build_sources(config, build.build_learner(config))


def test_a_run_with_close_ups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build.NETWORKS, "tiny", tiny)
    config = replace(
        small(tmp_path), network="tiny", stage="whole", body_model="free", losses=expose_preset().losses, steps=2,
        eval_every=2, save_every=2, batch_size=2, disturb=DisturbConfig.original(),
        closeups=CloseupConfig(hands=("drawn",), heads=("drawn",), hand_batch=3, head_batch=1),
    )  # fmt: skip
    rows = train(config, tmp_path / "run").read_metrics()
    steps, exams = ([row for row in rows if row["kind"] == kind] for kind in ("train", "eval"))
    asked = {f"hand/{n}" for n in config.closeups.hand_losses.wanted()}
    asked |= {f"head/{n}" for n in config.closeups.head_losses.wanted()}
    assert all(asked <= set(row) and math.isfinite(row["loss"]) for row in steps)
    assert not any(asked & set(row) for row in exams)  # evaluations look at people


def test_crops_alone_are_not_enough(batch: Batch) -> None:
    with pytest.raises(DataError, match="photos"):
        learner()(Batch(batch.crops, batch.targets))
