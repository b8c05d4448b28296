"""What networks guess, pulled onto what their heatmaps see: the body, then hands and face in their own crops.

The regressors know how things look; heatmaps know where they are; priors know what poses are like. `fit.py` puts the
three together. Beyond the reference; off unless a config asks for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openexpose.body import BodyModel, Posed
from openexpose.body.skinning import Tree
from openexpose.errors import ConfigError
from openexpose.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from openexpose.nets import priors
from openexpose.nets.attention import Look, Squares
from openexpose.nets.codec import Estimate
from openexpose.nets.config import RefineConfig
from openexpose.nets.fit import Belief, Chain, Goal, Relief, State, depths_u, fitted
from openexpose.nets.params import BodyParams, HandParams, HeadParams
from openexpose.nets.points import Points, leg_rows
from openexpose.skeleton import J14_EXTRAS, Skeleton

Side = Literal["left", "right"]
CARRIED_BY = {
    "right_hip_extra": "pelvis", "left_hip_extra": "pelvis", "neck_extra": "neck", "headtop": "head", "nose": "head",
    "right_eye": "head", "left_eye": "head", "right_ear": "head", "left_ear": "head",
    "right_bigtoe": "right_foot", "left_bigtoe": "left_foot", "right_heel": "right_ankle",
    "left_heel": "left_ankle", "right_middle_1": "right_wrist", "left_middle_1": "left_wrist",
}  # fmt: skip
"""Joint that carries a point of a body, where the point is no joint itself."""
BODY = tuple(range(22))
"""Pelvis and the 21 body joints turn; fingers and face do not."""
RIGHT_HAND = (21, *range(40, 55))
"""Wrist and fingers."""
HEAD = 15
STIFF_RAD = {
    "hip": 0.375, "spine": 0.075, "knee": 0.31, "ankle": 0.15, "foot": 0.063, "neck": 0.125,
    "collar": 0.1, "head": 0.19, "shoulder": 0.44, "elbow": 0.375, "wrist": 0.19,
}  # fmt: skip
"""How far the body network's joints are off as a rule, radians."""
RENDERED_ONLY = 0.1
"""How much a point counts that no real photo teaches (all but LSP's 14), against those."""
CUT_OFF = 0.05
"""How much the hips' heatmaps count where no leg is seen."""
_LEGS = ("hip", "knee", "ankle", "foot")
EXPRESSIONS = 10
AIM_PEAK = 0.2
"""Heatmaps of knuckles that are less sure do not say where to look for a hand."""
HAND_ROUNDS = 2
"""Steps after which the likeliest Gaussian of a hand's prior goes on alone."""
HALF_SURE = 0.15
"""Of a hand whose points are on average so sure half as much is taken from the other as of one that is not seen."""
HAND_M = 0.17
"""From the wrist of an outstretched hand to its fingertips."""


@dataclass(frozen=True)
class Refiner:
    """Settings and the names of the heatmaps of the three networks."""

    body: RefineConfig
    hand: RefineConfig | None
    head: RefineConfig | None
    body_names: tuple[str, ...]
    hand_names: tuple[str, ...] = ()
    head_names: tuple[str, ...] = ()

    def __call__(self, body: Estimate[BodyParams], model: BodyModel) -> Estimate[BodyParams]:
        """The body with other rotations and another camera; its raw vector (fingers, jaw) stays.

        Raises ConfigError if the network drew no heatmaps.
        """
        seen = _seen(body.points).doubted(leg_rows(self.body_names))
        params, camera = refined(body.params, body.camera, seen, self.body_names, model=model, config=self.body)
        return replace(body, params=params, camera=camera)

    def aim(self, square: Squares, body: Estimate[BodyParams], side: Side, scale: float, look: Look) -> Squares:
        """Where to look for a hand: around the heatmap of its middle knuckle where that sees something.

        The side of the square lies between what the body's hand takes up and what an outstretched one would.
        square: around the body's hand.   scale: of squares over tight boxes.
        Raises ConfigError without heatmaps, or without that one.
        """
        if f"{side}_middle_1" not in self.body_names:
            raise ConfigError(f"the body network draws no heatmap of {side}_middle_1: it cannot say where the hand is")
        seen, k = _seen(body.points), self.body_names.index(f"{side}_middle_1")
        crop_px = look.crops.shape[-1]
        at_px = (seen.at_u[:, k] + 1) / 2 * (crop_px - 1)
        T = look.T_crop_photo.to(at_px.dtype)
        centre_px = torch.linalg.solve(T[:, :, :2], at_px - T[:, :, 2])
        sees = seen.peak[:, k, None] > AIM_PEAK
        longest_px = body.camera[:, 0] / 2 * look.side_px.to(at_px.dtype) * HAND_M * scale
        return Squares(torch.where(sees, centre_px, square.centre_px), (square.side_px * longest_px).sqrt())

    def hands(self, hands: Estimate[HandParams], model: BodyModel) -> Estimate[HandParams]:
        """Right hands (or mirrored left ones) with other wrists and fingers. ConfigError without heatmaps."""
        if self.hand is None:
            return hands
        seen = _seen(hands.points)
        return replace(hands, params=refined_hands(hands.params, seen, self.hand_names, model=model, config=self.hand))

    def pair(self, hands: Estimate[HandParams]) -> Estimate[HandParams]:
        """Fingers that are hardly seen take after those of the other hand: people's two hands are often alike.

        hands: of B people, all right ones before all left ones mirrored.
        """
        if self.hand is None or self.hand.alike == 0:
            return hands
        rows = len(hands.params.betas) // 2
        sure = _sure(_seen(hands.points), self.hand).mean(1)
        other = sure.roll(rows)
        share = self.hand.alike * other / (other + sure + HALF_SURE) * HALF_SURE / (sure + HALF_SURE)
        mine = matrix_to_axis_angle(hands.params.right_hand_pose)
        theirs = mine.roll(rows, 0)
        fingers = axis_angle_to_matrix(mine + share[:, None, None] * (theirs - mine))
        return replace(hands, params=replace(hands.params, right_hand_pose=fingers))

    def face(self, head: Estimate[HeadParams], betas: Float[Tensor, "B S"], model: BodyModel) -> Estimate[HeadParams]:
        """The head with another turn, jaw and expression. betas: of the body.  Raises ConfigError without heatmaps.

        The shape that suits the face is found too, but not handed on: a body of another size would leave its points.
        """
        if self.head is None:
            return head
        seen = _seen(head.points)
        params, _ = refined_face(head.params, betas, seen, self.head_names, model=model, config=self.head)
        return replace(head, params=params)


def _seen(points: Points | None) -> Points:
    if points is None:
        raise ConfigError("refinement needs networks with heatmaps (the `lite` ones)")
    return points.sharpened()


@dataclass(frozen=True)
class _Layout:
    """Which joints, in the order in which they are fitted, move which of the network's points."""

    tree: Tree
    keypoint_rows: tuple[int, ...]
    """Of each point in keypoints followed by J14."""
    carriers: tuple[int, ...]
    moves: Bool[Tensor, "K J"]
    share: Float[Tensor, " K"]
    """How much each point counts."""


def refined(
    params: BodyParams, camera: Float[Tensor, "B 3"], seen: Points, names: Sequence[str], *, model: BodyModel,
    config: RefineConfig,
) -> tuple[BodyParams, Float[Tensor, "B 3"]]:  # fmt: skip
    """Params and camera whose projected points lie nearer to what the heatmaps see.

    camera: (s, tx, ty) of weak perspective.   names: of the heatmaps.   Rows do not influence each other.
    Raises ConfigError for a body model without the points, or a heatmap whose carrier is not known.
    """
    layout = _layout(names, model, BODY)
    goal = _goal(seen, layout.share.to(camera), config)
    shaped, rest = model.shape(params.betas, params.expression), params.R_parent_child()[:, len(BODY) :]

    def measure(root: Tensor, x: Tensor) -> Chain:
        R = torch.cat([root[:, None], axis_angle_to_matrix(x.unflatten(1, (-1, 3))), rest], 1)
        return _chain(shaped.pose(R), model, layout, BODY)

    guess, goal = _standing(matrix_to_axis_angle(params.body_pose), goal, seen, names, model)
    belief = _belief(priors.shipped("body"), guess.flatten(1), _stiff_rad(model), config)
    start = State(params.global_orient, guess.flatten(1), camera)
    solid = None
    if config.first_steps:
        loose = goal._replace(trust=goal.trust * (config.spread_u / config.first_spread_u) ** 2)
        start = fitted(measure, start, loose, belief, steps=config.first_steps)
        solid = measure(start.root, start.x)
        goal = _keeping_depth(goal, solid.place(start.root, start.x).points_m, start, config)
    found = fitted(measure, start, goal, belief, steps=config.steps, solid=solid)
    body_pose = axis_angle_to_matrix(found.x.unflatten(1, (-1, 3)))
    return replace(params, global_orient=found.root, body_pose=body_pose), found.camera


def refined_hands(
    params: HandParams, seen: Points, names: Sequence[str], *, model: BodyModel, config: RefineConfig
) -> HandParams:
    """Wrist (camera axes) and fingers of right hands; the hand of the mean body is fitted, its size does not matter.

    One fit for each Gaussian of the prior, of which the most probable counts.

    model: the body model.   Raises ConfigError for one without the points.
    """
    layout = _layout(names, model, RIGHT_HAND)
    goal = _goal(seen, layout.share.to(params.betas), config)
    rest = _chain(
        model.shape().pose(torch.eye(3).to(params.betas).expand(1, model.num_joints, 3, 3)), model, layout, RIGHT_HAND
    )
    guess = matrix_to_axis_angle(params.right_hand_pose).flatten(1)
    prior = priors.shipped("hand")
    belief, kinds = _belief(prior, guess, torch.full((45,), 0.5), config), len(prior.weight)
    every = goal.rows(torch.arange(len(guess), device=guess.device).repeat(kinds))
    start = _started(rest, params.global_orient.repeat(kinds, 1, 1), belief.mean, every)
    found = fitted(lambda root, x: rest, start, every, belief, steps=config.steps, kinds=kinds, rounds=HAND_ROUNDS)
    fingers = axis_angle_to_matrix(found.x.unflatten(1, (-1, 3)))
    return replace(params, global_orient=found.root, right_hand_pose=fingers)


def refined_face(
    params: HeadParams, betas: Float[Tensor, "B S"], seen: Points, names: Sequence[str], *, model: BodyModel,
    config: RefineConfig,
) -> tuple[HeadParams, Float[Tensor, "B S"]]:  # fmt: skip
    """Turn of heads (camera axes), jaw, the expression that bodies have, and betas of the body model.

    betas: of the body before.  model: the body model.   Raises ConfigError for one without the points.
    """
    layout = _layout(names, model, (HEAD,))
    goal = _goal(seen, layout.share.to(betas), config)
    prior = priors.shipped("face")
    size = betas.shape[1]
    precision = torch.block_diag(prior.precision[0], torch.eye(size).double() / config.betas_spread**2)[None]
    precision, mean = precision.to(betas.device), prior.mean.to(betas).expand(len(betas), -1)
    mean = torch.cat([mean, config.betas_share * betas], -1)
    belief = Belief(mean, precision, config.turn_rad, (1.0, 1.0, 1.0))

    def measure(root: Tensor, x: Tensor) -> Relief:
        return _relief(model, layout, root, x)

    first = measure(params.global_orient, mean)
    start = _started(first, params.global_orient, mean, goal)
    found = fitted(measure, start, goal, belief, steps=config.steps, solid=first)
    jaw, expression = axis_angle_to_matrix(found.x[:, :3]), found.x[:, 3 : 3 + EXPRESSIONS]
    full = torch.cat([expression, params.expression[:, EXPRESSIONS:]], -1)
    return replace(params, global_orient=found.root, jaw_pose=jaw, expression=full), found.x[:, 3 + EXPRESSIONS :]


def _goal(seen: Points, share: Float[Tensor, " K"], config: RefineConfig) -> Goal:
    trust = share * _sure(seen, config) / config.spread_u**2
    if seen.depth_u is None or seen.doubt_u is None or config.depth_share == 0:
        return Goal(seen.at_u, trust, config.outlier_u)
    depth_trust = config.depth_share * share / (2 * seen.doubt_u.square())
    return Goal(seen.at_u, trust, config.outlier_u, seen.depth_u, depth_trust, config.outlier_depth_u)


def _sure(seen: Points, config: RefineConfig) -> Float[Tensor, "B K"]:
    """How concentrated each heatmap is, 0 (too little to count) to 1."""
    return ((seen.peak - config.least_peak) / (1 - config.least_peak)).clamp(min=0)


def _standing(
    guess: Float[Tensor, "B 21 3"], goal: Goal, seen: Points, names: Sequence[str], model: BodyModel
) -> tuple[Float[Tensor, "B 21 3"], Goal]:
    """Whoever's legs are not seen at all stands; the hips hardly pull then: of somebody cut off there they are a guess.

    What networks and prior make of unseen legs is the mean of all poses: half kneeling.
    """
    legs, hips = leg_rows(names), [k for k, n in enumerate(names) if "hip" in n]
    if not legs:
        return guess, goal
    gone = (seen.peak[:, list(legs)] == 0).all(1)
    of_legs = torch.tensor([any(w in model.joint_names[j] for w in _LEGS) for j in BODY[1:]], device=gone.device)
    guess = guess.masked_fill((gone[:, None] & of_legs)[..., None], 0.0)
    trust = goal.trust.clone()
    trust[:, hips] = trust[:, hips] * torch.where(gone, CUT_OFF, 1.0)[:, None]
    return guess, goal._replace(trust=trust)


def _keeping_depth(goal: Goal, points_m: Float[Tensor, "B K 3"], state: State, config: RefineConfig) -> Goal:
    """The goal with other depths: those of a state. Points that pull hard then move limbs across, not towards us."""
    told_u = depths_u(points_m, state.camera)
    trust = torch.full_like(told_u, 1 / config.keep_depth_u**2)
    return Goal(goal.at_u, goal.trust, goal.edge_u, told_u, trust, config.outlier_depth_u)


def _belief(
    prior: priors.Prior, guess: Float[Tensor, "B V"], off_rad: Float[Tensor, " V"], config: RefineConfig
) -> Belief:
    """What poses are like and what the network guesses: the guess with each Gaussian, one batch behind the other.

    A product of two Gaussians is one, times how well they agree: that is its cost.
    """
    own = (config.own_share / off_rad.square()).double().to(guess.device)
    usual, mean, weight = (x.to(guess.device) for x in (prior.precision, prior.mean[:, None], prior.weight[:, None]))
    precision = config.prior_share * usual + torch.diag(own)
    pulled = config.prior_share * mean @ usual + own * guess.double()  # (M B V)
    middle = torch.linalg.solve(precision, pulled.mT).mT
    apart = config.prior_share * (mean @ usual * mean).sum(-1) + (own * guess.double().square()).sum(-1)
    cost = apart - (middle * pulled).sum(-1) - torch.logdet(usual)[:, None] - 2 * weight.log()
    precision = precision if len(precision) == 1 else precision.repeat_interleave(len(guess), 0)
    middle, cost = middle.flatten(0, 1).float(), cost.flatten().float()
    return Belief(middle, precision, config.turn_rad, config.camera_spread, cost)


def _started(solid: Chain | Relief, root: Tensor, x: Tensor, goal: Goal) -> State:
    """The state in which the mean pose covers the seen points best (their trust as weights), the root as it is."""
    points = solid.place(root, x).points_m[..., :2]
    w = goal.trust[..., None] + 1e-6
    middle, there = ((w * p).sum(1, keepdim=True) / w.sum(1, keepdim=True) for p in (points, goal.at_u))
    spread, wanted = ((w * (p - m).square()).sum((1, 2)) for p, m in ((points, middle), (goal.at_u, there)))
    s = (wanted / spread.clamp(min=1e-9)).sqrt().clamp(min=1e-2)[:, None]
    return State(root, x, torch.cat([s, there[:, 0] / s - middle[:, 0]], -1))


def _chain(posed: Posed, model: BodyModel, layout: _Layout, joints: Sequence[int]) -> Chain:
    points, at, axes = (
        _points(posed, model, layout),
        posed.joints_m[:, list(joints)],
        posed.R_model_joint[:, list(joints)],
    )
    carriers = list(layout.carriers)
    on_joint = axes[:, carriers].mT @ (points - at[:, carriers])[..., None]
    return Chain(
        layout.tree, posed.rest_joints[:, list(joints)], layout.carriers, on_joint[..., 0], layout.moves.to(at.device)
    )


_NUDGE = 0.05
"""Radians and coefficients by which a face is moved to see how its points move."""


def _relief(model: BodyModel, layout: _Layout, root: Float[Tensor, "B 3 3"], x: Float[Tensor, "B V"]) -> Relief:
    """Face points about the head joint, and how they move with jaw, expression and betas: differences."""
    B, V = x.shape
    every = torch.cat([x[:, None], x[:, None] + _NUDGE * torch.eye(V).to(x)], 1).flatten(0, 1)
    R = torch.eye(3).to(x).repeat(len(every), model.num_joints, 1, 1)
    turned = root[:, None].expand(B, V + 1, 3, 3).flatten(0, 1)
    R[:, 0], R[:, model.joint_names.index("jaw")] = turned, axis_angle_to_matrix(every[:, :3])
    posed = model.shape(every[:, 3 + EXPRESSIONS :], every[:, 3 : 3 + EXPRESSIONS]).pose(R)
    away = _points(posed, model, layout) - posed.joints_m[:, HEAD, None]
    local = (turned[:, None].mT @ away[..., None])[..., 0].unflatten(0, (B, V + 1))
    basis = (local[:, 1:] - local[:, :1]) / _NUDGE
    return Relief(local[:, 0], basis.permute(0, 2, 3, 1), x)


def _points(posed: Posed, model: BodyModel, layout: _Layout) -> Float[Tensor, "B K 3"]:
    every = posed.keypoints_m()
    if max(layout.keypoint_rows) >= every.shape[1]:
        every = torch.cat([every, posed.regressed_m("j14")], 1)
    return every[:, list(layout.keypoint_rows)]


def _layout(names: Sequence[str], model: BodyModel, chosen: Sequence[int]) -> _Layout:
    keypoints, joints = list(model.keypoint_names), list(model.joint_names)
    if max(chosen) >= len(joints):
        raise ConfigError(f"{model.label} has no body whose points could be followed: {len(joints)} joints")
    place = {joint: i for i, joint in enumerate(chosen)}
    tree = Tree.of((-1, *(place[model.parents[j]] for j in chosen[1:])))
    rows, carriers, moves = [], [], torch.zeros(len(names), len(chosen), dtype=torch.bool)
    for k, name in enumerate(names):
        carrier = joints[chosen[0]] if len(chosen) == 1 else CARRIED_BY.get(name, name)
        carrier = carrier if carrier in joints else f"{carrier}_3"  # fingertips
        if carrier not in joints or joints.index(carrier) not in place or not (name in J14_EXTRAS or name in keypoints):
            raise ConfigError(f"the heatmap of {name!r} cannot be followed on {model.label}")
        rows.append(len(keypoints) + J14_EXTRAS[name] if name in J14_EXTRAS else keypoints.index(name))
        j = place[joints.index(carrier)]
        carriers.append(j)
        j = tree.parents[j] if carrier == name else j  # a joint does not move itself
        while j >= 0:
            moves[k, j] = True
            j = tree.parents[j]
    marked = Skeleton.read("lspet").names if len(chosen) == len(BODY) else names
    share = torch.tensor([1.0 if name in marked else RENDERED_ONLY for name in names])
    return _Layout(tree, tuple(rows), tuple(carriers), moves, share)


def _stiff_rad(model: BodyModel) -> Float[Tensor, " V"]:
    """Of each of three axes of the 21 joints. Raises ConfigError for a joint of an unknown kind."""
    kinds = []
    for j in BODY[1:]:
        kind = next((v for n, v in STIFF_RAD.items() if n in model.joint_names[j]), None)
        if kind is None:
            raise ConfigError(f"{model.label} has a body joint of an unknown kind: {model.joint_names[j]}")
        kinds.append(kind)
    return torch.tensor(kinds).repeat_interleave(3)
