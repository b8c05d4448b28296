"""The losses of one network (body, hand, head) or of the merged whole: which terms, from which answers and labels."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.errors import ConfigError, DataError
from openexpose.losses import terms
from openexpose.losses.terms import Term
from openexpose.nets.params import BodyParams, HandParams, HeadParams
from openexpose.nets.points import Points
from openexpose.skeleton import Part, Skeleton, part_of

Name = Literal[
    "keypoints2d",
    "keypoints3d",
    "global_orient",
    "body_pose",
    "jaw_pose",
    "left_hand_pose",
    "right_hand_pose",
    "betas",
    "expression",
    "betas_prior",
    "hand_crops",
    "head_crop",
    "lsp2d",
    "heatmaps",
    "points2d",
    "depths",
    "surface",
]
TRUSTED_PARTS: dict[str, Part] = {
    "jaw_pose": "head",
    "left_hand_pose": "left_hand",
    "right_hand_pose": "right_hand",
    "expression": "head",
}
"""Labels that count as much as the named part's keypoints were seen in the picture."""
_ROOTS = (("left_hip", "right_hip"), ("right_wrist", "right_wrist"))
"""Points whose middle 3D keypoints are seen from: of a body, of a hand."""


class Target(NamedTuple):
    """A label and how much to trust it, one weight per sample: 0 = unknown (the value is zeros then)."""

    value: Float[Tensor, "B ..."]
    weight: Float[Tensor, " B"]


class PartCrop(NamedTuple):
    """Where a part was looked at again: what the losses need of it."""

    T_photo_crop: Float[Tensor, "B 3 3"]
    """From the *body* crop's pixels to the photo's."""
    side_px: Float[Tensor, " B"]
    """Side of the part's square in the photo."""


Params = BodyParams | HandParams | HeadParams


class NetworkLoss(nn.Module):
    """Computes the wanted terms. Holds no weights of its own; its buffers never enter a checkpoint."""

    def __init__(
        self, keypoint_names: Sequence[str], wanted: Sequence[Name], *, crop_px: int, points: Sequence[str] = ()
    ) -> None:
        """keypoint_names: of the body model whose points are compared.  wanted: terms to compute; "surface" is left to
        whoever has the body model.

        crop_px: side of the crop that 2D targets are measured in.   points: the network's own heatmaps, by name.
        Raises ConfigError if a wanted term needs keypoints that the body model, or heatmaps that the network, has not.
        """
        super().__init__()
        self.wanted, self.crop_px = tuple(name for name in wanted if name != "surface"), crop_px
        lsp = Skeleton.read("lspet").names if "lsp2d" in wanted else ()
        absent = [n for n in (*lsp, *points) if n not in keypoint_names]
        if absent or (not points and {"heatmaps", "points2d", "depths"} & set(wanted)):
            raise ConfigError(f"a loss of {', '.join(wanted)} needs points that are not there: {absent or 'heatmaps'}")
        for name, chosen in (("lsp_rows", lsp), ("point_rows", points)):
            rows = torch.tensor([keypoint_names.index(n) for n in chosen], dtype=torch.int64)
            self.register_buffer(name, rows, persistent=False)
        owner = [part_of(name) for name in keypoint_names]
        names = list(keypoint_names)
        root = next((pair for pair in _ROOTS if set(pair) <= set(names)), None)
        self.root = None if root is None else (names.index(root[0]), names.index(root[1]))
        if "keypoints3d" in wanted and self.root is None:
            raise ConfigError("the loss keypoints3d measures from hips or wrist, and this model has none: turn it off")
        for part in ("head", "left_hand", "right_hand"):
            mask = torch.tensor([float(o == part) for o in owner])
            used = any(TRUSTED_PARTS.get(w) == part for w in wanted) or (part != "head" and "hand_crops" in wanted)
            if used and not mask.any():
                raise ConfigError(
                    f"a loss of {', '.join(wanted)} needs keypoints of the {part}; this body model has none"
                )
            self.register_buffer(f"of_{part}", mask, persistent=False)
            wrist = f"{part.split('_')[0]}_wrist"
            region = [i for i, o in enumerate(owner) if o == part or names[i] == wrist]
            self.register_buffer(f"in_{part}", torch.tensor(region, dtype=torch.int64), persistent=False)

    def forward(
        self,
        params: Params,
        points_m: Float[Tensor, "B K 3"],
        points_u: Float[Tensor, "B K 2"],
        targets: Mapping[str, Target],
        parts: Mapping[Part, PartCrop] | None = None,
        seen: Points | None = None,
    ) -> dict[str, Term]:
        """Every wanted term by name.

        points_m: keypoints in metres.   points_u: the same projected, in [-1, 1] over the crop.
        targets: by name: keypoints2d (B, K, 3) crop pixels and confidence, keypoints3d (B, K, 4) metres and confidence,
        rotations (B, J, 3, 3) or (B, 3, 3), betas, expression.
        parts: where hands and head were cropped, for `hand_crops` and `head_crop`.
        seen: what the network's heatmaps say, for `heatmaps`, `points2d` and `depths`.
        Raises DataError if a target or a part crop is missing.
        """
        out: dict[str, Term] = {}
        for name in self.wanted:
            if name == "betas_prior":
                out[name] = terms.betas_prior(params.betas.float())
            elif name in ("hand_crops", "head_crop"):
                out[name] = self._in_part_crops(name, points_u.float(), _known(targets, "keypoints2d"), parts or {})
            elif name == "depths":
                out[name] = self._depths(_known(targets, "keypoints2d"), _known(targets, "keypoints3d"), seen)
            elif name in ("lsp2d", "heatmaps", "points2d"):
                out[name] = self._of_some(name, points_u.float(), _known(targets, "keypoints2d"), seen)
            else:
                target = _known(targets, name)
                out[name] = self._term(name, params, points_m.float(), points_u.float(), target, targets)
        return out

    def _term(
        self,
        name: str,
        params: Params,
        points_m: Tensor,
        points_u: Tensor,
        target: Target,
        targets: Mapping[str, Target],
    ) -> Term:
        value, weight = target
        if name == "keypoints2d":
            return terms.keypoints2d(points_u, value, weight, crop_px=self.crop_px)
        if name == "keypoints3d" and self.root is not None:
            return terms.keypoints3d(points_m, value, weight, root=self.root)
        estimate: Tensor = getattr(params, name).float()
        if name == "betas":
            return terms.betas(estimate, value, weight)
        part = TRUSTED_PARTS.get(name)
        trust = None if part is None else self._trust(part, targets)
        if name == "expression" and trust is not None:
            return terms.expression(estimate, value, weight, trust)
        R, true = (x if x.ndim == 4 else x[:, None] for x in (estimate, value))
        if trust is None:
            return terms.rotations(R, true, weight)
        return terms.trusted_rotations(R, true, (weight * trust)[:, None].expand(R.shape[:2]))

    def _of_some(self, name: str, points_u: Tensor, target: Target, seen: Points | None) -> Term:
        """Losses on a few of the keypoints: LSP's, or those that the network draws heatmaps of."""
        rows: Tensor = getattr(self, "lsp_rows" if name == "lsp2d" else "point_rows")
        value = target.value[:, rows]
        if name == "lsp2d":
            return terms.keypoints2d(points_u[:, rows], value, target.weight, crop_px=self.crop_px)
        if seen is None:
            raise DataError(f"the loss {name} needs a network with heatmaps")
        if name == "heatmaps":
            return terms.heatmaps(seen.logits, value, target.weight, crop_px=self.crop_px)
        return terms.visible_points(seen.at_u, value, target.weight, crop_px=self.crop_px)

    def _depths(self, flat: Target, solid: Target, seen: Points | None) -> Term:
        if seen is None or seen.depth_u is None or seen.doubt_u is None:
            raise DataError("the loss depths needs a network whose heatmaps come with depths")
        rows: Tensor = self.point_rows  # type: ignore[assignment]
        u_per_m = terms.half_sides_per_metre(solid.value, flat.value, crop_px=self.crop_px)
        return terms.depths(seen.depth_u, seen.doubt_u, solid.value[:, rows], u_per_m, solid.weight)

    def _trust(self, part: Part, targets: Mapping[str, Target]) -> Tensor:
        return terms.mean_confidence(_known(targets, "keypoints2d").value, getattr(self, f"of_{part}"))

    def _in_part_crops(self, name: str, points_u: Tensor, target: Target, parts: Mapping[Part, PartCrop]) -> Term:
        chosen: tuple[Part, ...] = ("left_hand", "right_hand") if name == "hand_crops" else ("head",)
        found = []
        for part in chosen:
            if part not in parts:
                raise DataError(
                    f"the loss {name} needs the crop of the {part}; only the whole network makes part crops"
                )
            rows: Tensor = getattr(self, f"in_{part}")
            found.append(
                terms.keypoints_in_part_crop(
                    points_u[:, rows],
                    target.value[:, rows],
                    target.weight,
                    crop_px=self.crop_px,
                    T_photo_crop=parts[part].T_photo_crop,
                    side_px=parts[part].side_px,
                )
            )
        return Term(torch.stack([t.summed for t in found]).sum(), found[0].over)


def _known(targets: Mapping[str, Target], name: str) -> Target:
    if name not in targets:
        raise DataError(f"the batch has no target {name!r} (it has {', '.join(targets)}); unknown ones have weight 0")
    return targets[name]
