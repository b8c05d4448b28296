"""The most probable pose, given points seen in a picture and what poses are like (damped Gauss-Newton).

Points say where things are in the picture and, where depths are told, how far behind each other they are; a prior over
rotation vectors (`priors.py`) says the rest (SMPLify's idea, with closed-form derivatives; HybrIK's: points in space
first, joint angles from them). One small symmetric system a row and step. A step that makes a row worse is not taken,
and the next is shorter (Levenberg-Marquardt). Rows do not influence each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from openexpose.body.skinning import Tree
from openexpose.geometry.rotations import matrix_to_sixd, sixd_to_matrix

_LONGEST_STEP = 0.6
"""Radians, coefficients, log scale, metres."""
_SLACK = 1e-4
"""A step may cost so much more, relatively: float32 cannot tell less, and the rest of a batch must not decide."""
_RIDE = 5
"""Steps after which a solid is measured again."""
_BOTTOM = torch.tensor([0.0, 0.0, 0.0, 1.0])
"""Last row of a rigid motion."""


class Goal(NamedTuple):
    """What is seen of K points, and how hard each pulls (1 / spread squared)."""

    at_u: Float[Tensor, "B K 2"]
    trust: Float[Tensor, "B K"]
    edge_u: float
    """Points further off than this pull with constant force."""
    depth_u: Float[Tensor, "B K"] | None = None
    """From the mean of all points, half crop sides; None: not told."""
    depth_trust: Float[Tensor, "B K"] | None = None
    depth_edge_u: float = 1.0

    def rows(self, chosen: Int[Tensor, " N"]) -> "Goal":
        """Some of the rows, each as often as it is named."""
        depth, depth_trust = (None if x is None else x[chosen] for x in (self.depth_u, self.depth_trust))
        return Goal(self.at_u[chosen], self.trust[chosen], self.edge_u, depth, depth_trust, self.depth_edge_u)


class State(NamedTuple):
    """What is looked for."""

    root: Float[Tensor, "B 3 3"]
    """Turn of the root in camera axes."""
    x: Float[Tensor, "B V"]
    """Rotation vectors of the joints below (relative to the parent, radians), or coefficients."""
    camera: Float[Tensor, "B 3"]
    """(s, tx, ty) of weak perspective."""


class Belief(NamedTuple):
    """What is known before looking: Gaussians over a `State`."""

    mean: Float[Tensor, "B V"]
    precision: Float[Tensor, "#B V V"]
    root_rad: float
    """How far the root may be off where it starts."""
    camera: tuple[float, float, float]
    """The same for log scale, and the shift in metres."""
    cost: Float[Tensor, " B"] | None = None
    """Added to what a state costs, where fits with different beliefs are to be compared."""


@runtime_checkable
class Placed(Protocol):
    """A solid in some state."""

    @property
    def points_m(self) -> Float[Tensor, "B K 3"]:
        """Camera axes."""
        ...

    def slopes(self) -> Float[Tensor, "B P 3 K"]:
        """How the points move with a small turn of the root (camera axes, 3), then with each number of x."""
        ...

    def where(self, chosen: Bool[Tensor, " B"], other: Any) -> "Placed":
        """Rows of self where chosen, of the same solid placed otherwise elsewhere."""
        ...


@runtime_checkable
class Solid(Protocol):
    """Something whose points move with a state."""

    def place(self, root: Float[Tensor, "B 3 3"], x: Float[Tensor, "B V"]) -> Placed:
        """Where its points are."""
        ...


Measure = Callable[[Float[Tensor, "B 3 3"], Float[Tensor, "B V"]], Solid]
"""Makes a solid that is exact in a state and nearly so around it."""


class _Fit(NamedTuple):
    """A state, and how well it explains what is seen."""

    state: State
    swung: Float[Tensor, "B 3"]
    """Turns of the root so far, added up."""
    placed: Placed
    strayed: Float[Tensor, "B Q"]
    """From what is known to the state, float64."""
    apart_u: Float[Tensor, "B C K"]
    """From the projected points to the seen ones: across, down, and away where depths are told."""
    pull: Float[Tensor, "B C K"]
    cost: Float[Tensor, " B"]

    def where(self, chosen: Bool[Tensor, " B"], other: "_Fit") -> "_Fit":
        """Rows of self where chosen, of the other elsewhere."""
        if chosen.all():
            return self
        mine, theirs = ((*f.state, f.swung, f.strayed, f.apart_u, f.pull, f.cost) for f in (self, other))
        root, x, camera, swung, *rest = (_rows(chosen, a, b) for a, b in zip(mine, theirs, strict=True))
        return _Fit(State(root, x, camera), swung, self.placed.where(chosen, other.placed), *rest)


def fitted(
    measure: Measure,
    start: State,
    goal: Goal,
    belief: Belief,
    *,
    steps: int,
    solid: Solid | None = None,
    kinds: int = 1,
    rounds: int = 0,
) -> State:
    """The state that explains the goal best without being improbable, found from `start`.

    solid: what `measure` says of the start, where that is known.
    kinds: how often each row is there, one batch behind the other, with other beliefs: after `rounds` steps, one
    before the last at the latest, the one that costs least goes on alone.
    """
    problem = _Problem.of(start, goal, belief)
    solid = measure(start.root, start.x) if solid is None else solid
    fit = problem.look(solid, start, torch.zeros_like(start.camera))
    damping = torch.ones_like(fit.cost)
    for number in range(steps):
        if kinds > 1 and number == min(rounds, steps - 1):
            best = _likeliest(fit.cost if belief.cost is None else fit.cost + belief.cost, kinds)
            problem, damping = problem.rows(best), damping[best]
            left, swung = State(*(v[best] for v in fit.state)), fit.swung[best]
            solid = measure(left.root, left.x)
            fit = problem.look(solid, left, swung)
        if number and number % _RIDE == 0:
            solid = measure(fit.state.root, fit.state.x)
            fit = problem.look(solid, fit.state, fit.swung)
        step = problem.step(fit, damping)
        tried = problem.look(solid, _moved(fit.state, step), fit.swung + step[:, :3])
        better = tried.cost < (1 + _SLACK) * fit.cost
        fit = tried.where(better, fit)
        damping = torch.where(better, damping / 4, damping * 8)
    root = sixd_to_matrix(matrix_to_sixd(fit.state.root))  # float32 drifts
    return fit.state._replace(root=root)


def _likeliest(cost: Float[Tensor, " N"], kinds: int) -> Int[Tensor, " B"]:
    """The place of each row's kind that costs least."""
    rows = len(cost) // kinds
    return cost.view(kinds, rows).argmin(0) * rows + torch.arange(rows, device=cost.device)


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is asked of a state."""

    start: State
    goal: Goal
    mean: Float[Tensor, "B V"]
    known: Float[Tensor, "#B Q Q"]
    """Precision of what is known about root, x and camera; float64."""

    @classmethod
    def of(cls, start: State, goal: Goal, belief: Belief) -> "_Problem":
        loose = start.camera.new_tensor((belief.root_rad, *belief.camera)).double()
        root, camera = loose[:1].expand(3), loose[1:]
        known = torch.diag(torch.cat([1 / root.square(), loose.new_zeros(belief.mean.shape[1]), 1 / camera.square()]))
        known = known.repeat(len(belief.precision), 1, 1)
        known[:, 3:-3, 3:-3] = belief.precision
        return cls(start, goal, belief.mean, known)

    def rows(self, chosen: Int[Tensor, " N"]) -> "_Problem":
        """Some of the rows."""
        known = self.known if len(self.known) == 1 else self.known[chosen]
        return _Problem(State(*(v[chosen] for v in self.start)), self.goal.rows(chosen), self.mean[chosen], known)

    def look(self, solid: Solid, state: State, swung: Tensor) -> _Fit:
        """How well a state does."""
        placed = solid.place(state.root, state.x)
        apart, pull, cost = _judged(placed.points_m, state.camera, self.goal)
        off = self._strayed(state, swung)
        cost = cost + (off * _times(self.known, off)).sum(-1).float()
        return _Fit(state, swung, placed, off, apart, pull, cost)

    def step(self, fit: _Fit, damping: Float[Tensor, " B"]) -> Float[Tensor, "B Q"]:
        """The damped Gauss-Newton step from there."""
        depth, placed = self.goal.depth_u is not None, fit.placed
        jacobian = _jacobian(placed.slopes(), placed.points_m, fit.state.camera, depth=depth).double().flatten(2)
        weighted = jacobian * fit.pull.flatten(1)[:, None]
        A = torch.baddbmm(self.known, weighted, jacobian.mT)
        A.diagonal(dim1=1, dim2=2).add_(damping[:, None] * self.known.diagonal(dim1=1, dim2=2))
        b = _times(weighted, fit.apart_u.double().flatten(1)) - _times(self.known, fit.strayed)
        lower = torch.linalg.cholesky_ex(A)[0]  # a row that is not finite gets no step that is better
        return torch.cholesky_solve(b[..., None], lower)[..., 0].clamp(-_LONGEST_STEP, _LONGEST_STEP).float()

    def _strayed(self, state: State, swung: Tensor) -> Tensor:
        first = self.start.camera
        shift = torch.cat([(state.camera[:, :1] / first[:, :1]).log(), state.camera[:, 1:] - first[:, 1:]], -1)
        return torch.cat([swung, state.x - self.mean, shift], -1).double()


def _times(A: Float[Tensor, "#B N M"], v: Float[Tensor, "B M"]) -> Float[Tensor, "B N"]:
    return (A @ v[..., None])[..., 0]


def _moved(state: State, step: Float[Tensor, "B Q"]) -> State:
    root = exponential(step[:, :3])[0] @ state.root
    camera = torch.cat([state.camera[:, :1] * step[:, -3:-2].exp(), state.camera[:, 1:] + step[:, -2:]], -1)
    return State(root, state.x + step[:, 3:-3], camera)


def _rows(chosen: Bool[Tensor, " B"], a: Tensor, b: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, *[1] * (a.ndim - 1)), a, b)


def _judged(points_m: Tensor, camera: Tensor, goal: Goal) -> tuple[Tensor, Tensor, Tensor]:
    """From the projected points to the seen ones (B C K), how hard each pulls, and what that costs (B)."""
    apart = (goal.at_u - camera[:, None, :1] * (points_m[..., :2] + camera[:, None, 1:])).mT
    cost, pull = _huber(apart.norm(dim=1), goal.trust, goal.edge_u)
    pulls = [pull, pull]
    if goal.depth_u is not None and goal.depth_trust is not None:
        behind = goal.depth_u - depths_u(points_m, camera)
        more, pull = _huber(behind.abs(), goal.depth_trust, goal.depth_edge_u)
        apart, cost = torch.cat([apart, behind[:, None]], 1), cost + more
        pulls.append(pull)
    return apart, torch.stack(pulls, 1), cost


def depths_u(points_m: Float[Tensor, "B K 3"], camera: Float[Tensor, "B 3"]) -> Float[Tensor, "B K"]:
    """How far behind the mean of all points each is, in half crop sides."""
    return camera[:, :1] * (points_m[..., 2] - points_m[..., 2].mean(1, keepdim=True))


def _huber(far: Tensor, trust: Tensor, edge: float) -> tuple[Tensor, Tensor]:
    cost = torch.where(far < edge, far.square(), edge * (2 * far - edge))
    return (trust * cost).sum(1), trust / (far / edge).clamp(min=1)


def _jacobian(
    slopes: Float[Tensor, "B P 3 K"], points_m: Float[Tensor, "B K 3"], camera: Float[Tensor, "B 3"], *, depth: bool
) -> Float[Tensor, "B Q C K"]:
    """How what is seen changes with root, x, log s, tx, ty. depth: as a third row, from the mean depth."""
    s = camera[:, :1]
    by_camera = slopes.new_zeros(len(slopes), 3, 2 + depth, slopes.shape[-1])
    by_camera[:, 0, :2] = (s[..., None] * (points_m[..., :2] + camera[:, None, 1:])).mT
    by_camera[:, 1, 0] = by_camera[:, 2, 1] = s
    seen, away = slopes[:, :, :2], slopes[:, :, 2:]
    if depth:
        seen = torch.cat([seen, away - away.mean(-1, keepdim=True)], 2)
        by_camera[:, 0, 2] = depths_u(points_m, camera)
    return torch.cat([s[..., None, None] * seen, by_camera], 1)


@dataclass(frozen=True, eq=False)
class Chain:
    """Joints that turn, the root first, and points that ride on them as if they were bone."""

    tree: Tree
    rest_joints_m: Float[Tensor, "#B J 3"]
    carriers: Sequence[int]
    """Joint on which each point rides."""
    on_joint_m: Float[Tensor, "#B K 3"]
    """Each point in the frame of the joint that carries it."""
    moves: Bool[Tensor, "K J"]
    """Whether a joint's turn moves a point."""

    def place(self, root: Float[Tensor, "B 3 3"], x: Float[Tensor, "B V"]) -> "PlacedChain":
        """x: rotation vectors of all joints but the root."""
        R, bends = exponential(x.unflatten(1, (-1, 3)))
        axes, joints = self._turned(torch.cat([root[:, None], R], 1))
        carriers = list(self.carriers)
        points = (axes[:, carriers] @ self.on_joint_m[..., None])[..., 0] + joints[:, carriers]
        return PlacedChain(self, axes, bends, joints, points)

    def _turned(self, R: Float[Tensor, "B J 3 3"]) -> tuple[Float[Tensor, "B J 3 3"], Float[Tensor, "B J 3"]]:
        """Absolute rotations and places, by pointer jumping: two operations for each doubling of the depth."""
        parents = torch.tensor(self.tree.parents, device=R.device)
        rest = self.rest_joints_m
        bones = torch.cat([rest[:, :1], rest[:, 1:] - rest[:, parents[1:]]], 1).expand(len(R), -1, 3)
        T = torch.cat([torch.cat([R, bones[..., None]], -1), _BOTTOM.to(R).expand(*R.shape[:2], 1, 4)], -2)
        T = torch.cat([T, torch.eye(4).to(T).expand(len(T), 1, 4, 4)], 1)  # above the root
        above = torch.cat([parents.where(parents >= 0, parents.new_tensor(len(parents))), parents.new_tensor([-1])])
        for _ in range(len(self.tree.levels).bit_length()):
            T, above = T[:, above] @ T, above[above]
        return T[:, :-1, :3, :3], T[:, :-1, :3, 3]


@dataclass(frozen=True, eq=False)
class PlacedChain:
    """A chain in some state."""

    chain: Chain
    axes: Float[Tensor, "B J 3 3"]
    bends: Float[Tensor, "B J-1 3 3"]
    """From changes of a joint's rotation vector to turns in its parent's axes."""
    joints_m: Float[Tensor, "B J 3"]
    points_m: Float[Tensor, "B K 3"]

    def slopes(self) -> Float[Tensor, "B P 3 K"]:
        """A point X moves by d x (X - p) when a joint p above it turns by d in camera axes."""
        B, J = self.joints_m.shape[:2]
        turns = self.axes[:, list(self.chain.tree.parents[1:])] @ self.bends
        axes = torch.cat([torch.eye(3).to(turns).expand(B, 1, 3, 3), turns], 1).mT  # (B J 3 3), each row a d
        there = torch.linalg.cross(self.joints_m[:, :, None], axes)
        motion = torch.cat([cross_matrix(axes), there[..., None]], -1)  # d x X - d x p, linear in (X, 1)
        moved = motion.flatten(1, 3) @ functional.pad(self.points_m, (0, 1), value=1.0).mT
        moved = moved.unflatten(1, (J, 9)) * self.chain.moves.T[:, None]
        return moved.view(B, 3 * J, 3, moved.shape[-1])

    def where(self, chosen: Bool[Tensor, " B"], other: "PlacedChain") -> "PlacedChain":
        """Rows of self where chosen, of the other elsewhere."""
        mine, theirs = ((p.axes, p.bends, p.joints_m, p.points_m) for p in (self, other))
        return PlacedChain(self.chain, *(_rows(chosen, a, b) for a, b in zip(mine, theirs, strict=True)))


@dataclass(frozen=True, eq=False)
class Relief:
    """Points on a root that move linearly with coefficients: a head with its face."""

    points_m: Float[Tensor, "B K 3"]
    """In the root's frame, at `x`."""
    basis_m: Float[Tensor, "B K 3 V"]
    x: Float[Tensor, "B V"]

    def place(self, root: Float[Tensor, "B 3 3"], x: Float[Tensor, "B V"]) -> "PlacedRelief":
        """x: the coefficients."""
        local = self.points_m + torch.einsum("bkcv,bv->bkc", self.basis_m, x - self.x)
        return PlacedRelief((root[:, None] @ local[..., None])[..., 0], root[:, None] @ self.basis_m)


@dataclass(frozen=True, eq=False)
class PlacedRelief:
    """A relief in some state."""

    points_m: Float[Tensor, "B K 3"]
    basis_m: Float[Tensor, "B K 3 V"]

    def slopes(self) -> Float[Tensor, "B P 3 K"]:
        """Turns about the root, then the coefficients."""
        return torch.cat([-cross_matrix(self.points_m), self.basis_m], -1).permute(0, 3, 2, 1)

    def where(self, chosen: Bool[Tensor, " B"], other: "PlacedRelief") -> "PlacedRelief":
        """Rows of self where chosen, of the other elsewhere."""
        return PlacedRelief(_rows(chosen, self.points_m, other.points_m), _rows(chosen, self.basis_m, other.basis_m))


def cross_matrix(v: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """[v] with [v] w = v x w."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def exponential(rotvec_rad: Float[Tensor, "*B 3"]) -> tuple[Float[Tensor, "*B 3 3"], Float[Tensor, "*B 3 3"]]:
    """exp(r), and J with exp(r + d) = exp(J d) exp(r) for small d (Sola et al. 2018, eq. 132 and 145)."""
    square = rotvec_rad.square().sum(-1)[..., None, None]
    angle = square.sqrt()
    sine, cosine = torch.sinc(angle / torch.pi), 0.5 * torch.sinc(angle / (2 * torch.pi)).square()
    third = torch.where(square < 1e-3, 1 / 6, (1 - sine) / square.clamp(min=1e-3))
    K = cross_matrix(rotvec_rad)
    K2, eye = K @ K, torch.eye(3).to(K)
    return eye + sine * K + cosine * K2, eye + cosine * K + third * K2
