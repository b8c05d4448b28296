"""The studio: scenes in, photos with exact labels out. Two ways to see (embreex, torch rasteriser), one to shade."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from openexpose.errors import ConfigError
from openexpose.render.raster import Fragments, rasterise
from openexpose.skeleton import part_of
from openexpose.synth.background import paint_background, paint_occluders
from openexpose.synth.colour import colours
from openexpose.synth.extras import PIECES
from openexpose.synth.lens import damaged, developed
from openexpose.synth.light import SHADOW_PX, Lights, ShadowMap, lamp_frames, lit, lit_share, openness
from openexpose.synth.mannequin import Mannequin, People
from openexpose.synth.outfit import Outfit
from openexpose.synth.scene import MOST_PEOPLE, Casting, SceneDraw, SynthConfig, framed_points
from openexpose.synth.tracer import look

See = Callable[..., Fragments]


_STEP_M = 0.02
"""A larger difference in depth within a pixel is an edge."""


@dataclass(frozen=True, eq=False)
class Photos:
    """B photos and the truth about the first person of each. Camera frame: x right, y down, z away; metres."""

    rgb: UInt8[Tensor, "B S S 3"]
    mask: Bool[Tensor, "B S S"]
    """Pixels in which the first person is what is seen."""
    keypoints_px: Float[Tensor, "B 144 2"]
    keypoints_m: Float[Tensor, "B 144 3"]
    visible: Bool[Tensor, "B 144"]
    """In the photo, and nothing between the camera and the body part there."""
    box_px: Float[Tensor, "B 4"]
    """Left, top, right, bottom of the person's surface, cut at the photo's border; hair and cloth count."""
    crowd_px: Float[Tensor, "B P 4"]
    """Such boxes of everybody, the first person first; not-a-number where nobody is."""
    crowd_seen: Float[Tensor, "B P"]
    """The share of each such box in which its person is what is seen; an arm or cloth rarely fills more than half."""
    K: Float[Tensor, "B 3 3"]
    transl_m: Float[Tensor, "B 3"]
    """Added to the posed body: with the drawn rotations it gives the body in the camera frame."""
    R_model_joint: Float[Tensor, "B 55 3 3"]
    """Absolute rotations in camera axes."""
    vertices_m: Float[Tensor, "B U 3"]
    """Of the bare body model."""
    draws: tuple[SceneDraw, ...]


class Studio:
    """Takes photos: `studio.shoot([studio.draw(seed, index), ...])`."""

    def __init__(
        self,
        cfg: SynthConfig | None = None,
        *,
        device: str | torch.device = "cpu",
        renderer: Literal["auto", "embree", "raster"] = "auto",
        backgrounds: UInt8[np.ndarray, "C S S 3"] | None = None,
        mannequin: Mannequin | None = None,
    ) -> None:
        """cfg: None takes `SynthConfig`'s defaults.

        renderer: "embree" traces rays on the CPU, "raster" works on any device; "auto": by device.

        backgrounds: real crops without people (`background.crops_without_people`).
        Raises ConfigError for embree on a GPU.
        """
        cfg = SynthConfig() if cfg is None else cfg
        self.cfg, self.device = cfg, torch.device(device)
        on_cpu = self.device.type == "cpu"
        if renderer == "embree" and not on_cpu:
            raise ConfigError(f"embree draws on the CPU only, the device is {device}: use renderer raster")
        self.see: See = look if renderer == "embree" or (renderer == "auto" and on_cpu) else rasterise
        self.mannequin = Mannequin(device=device) if mannequin is None else mannequin
        self.bank = (
            None if backgrounds is None else (torch.tensor(backgrounds, device=self.device).float() / 255) ** 2.2
        )
        self.casting = Casting(self.mannequin, cfg, bank=0 if backgrounds is None else len(backgrounds))
        self.reach_m, self.slack_m = (x.to(self.device) for x in _reach(self.mannequin))
        rest = np.array(list(self.mannequin.points_m.values()), np.float32)
        self.keypoints_rest_m: Float[Tensor, "144 3"] = torch.from_numpy(rest).to(self.device)
        grid = torch.arange(cfg.size_px, device=self.device).float()
        y, x = torch.meshgrid(grid, grid, indexing="ij")
        self._pixels = torch.stack([x, y, torch.ones_like(x)], -1)

    def draw(self, seed: int, index: int) -> SceneDraw:
        """The scene of this seed and index."""
        return self.casting.draw(seed, index)

    @torch.no_grad()
    def shoot(self, draws: Sequence[SceneDraw]) -> Photos:
        """The photos of some scenes. On the CPU a scene looks the same whatever it is shot with, up to rounding."""
        stacked = {n: self._tensor(np.stack([d.numbers[n] for d in draws])) for n in draws[0].numbers}
        K = self._intrinsics(stacked["focal"])
        people, picture = self._people(draws, stacked, K)
        main = self._main_rows(draws)
        frame = self._seen(people, picture, K, len(draws))
        lights = _lights(stacked)
        shadow = self._shadow(people, picture, lights, main)
        front, alpha = self._shaded(people, frame, K, lights, shadow)
        floor_m = self._floor(people, picture, stacked["up"], len(draws)) - stacked["floor_gap_m"]
        back = self._background(stacked, K, floor_m, lights, shadow)
        linear = front + (1 - alpha)[..., None] * back
        linear, hidden = paint_occluders(linear, stacked["occluders"], self.mannequin.noise)
        srgb = damaged(developed(linear, stacked["lens"], lights.exposure), stacked["lens"])
        rgb = (srgb * 255).round().clamp(0, 255).to(torch.uint8)
        return self._labelled(rgb, people, picture, frame, hidden, K, draws)

    def _tensor(self, x: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(self.device)

    def _intrinsics(self, focal: Float[Tensor, " B"]) -> Float[Tensor, "B 3 3"]:
        S = self.cfg.size_px
        K = torch.zeros((len(focal), 3, 3), device=self.device)
        K[:, 0, 0] = K[:, 1, 1] = focal * S
        K[:, 0, 2] = K[:, 1, 2] = (S - 1) / 2
        K[:, 2, 2] = 1
        return K

    def _main_rows(self, draws: Sequence[SceneDraw]) -> Tensor:
        counts = np.cumsum([0] + [int(d.present.sum()) for d in draws[:-1]])
        return torch.from_numpy(counts).to(self.device)

    def _people(self, draws: Sequence[SceneDraw], numbers: dict[str, Tensor], K: Tensor) -> tuple[People, Tensor]:
        """Everybody of every picture in camera frames, and which picture each stands in."""
        present = np.stack([d.present for d in draws])
        which = self._tensor(present.nonzero()[0])

        def rows(name: str) -> Tensor:
            return self._tensor(np.stack([getattr(d, name) for d in draws])[present])

        betas, expression, R, beside = rows("betas"), rows("expression"), rows("R"), rows("beside_m")
        first = self.mannequin.bare.shape(betas, expression).pose(R)
        main = self._main_rows(draws)
        framed = self._tensor(np.stack([framed_points(d.framing) for d in draws]))
        root = _placed(first.keypoints_m()[main], framed, K, numbers, self.cfg.size_px)
        others = root[which] + beside
        lowest = _lowest(first.joints_m, numbers["up"][which])
        level = (lowest[main][which] - lowest)[:, None] * numbers["up"][which]  # feet on one floor
        return self.mannequin.dress(betas, expression, R, others + level, Outfit(rows("outfit"))), which

    def _seen(self, people: People, picture: Tensor, K: Tensor, pictures: int) -> Fragments:
        n = self.cfg.supersample
        fine = K.clone()
        fine[:, :2] *= n
        fine[:, :2, 2] += (n - 1) / 2
        side = self.cfg.size_px * n
        points = self._hidden_away(people)
        return self.see(
            points, self.mannequin.faces, fine[picture], picture, pictures=pictures, width_px=side, height_px=side
        )

    def _hidden_away(self, people: People) -> Tensor:
        """Vertices with those of pieces that a person has not as not-a-number."""
        return torch.where(people.shown[:, self.mannequin.piece_of_vertex][..., None], people.vertices_m, torch.nan)

    def _shadow(self, people: People, picture: Tensor, lights: Lights, main: Tensor) -> ShadowMap:
        middle = people.posed.joints_m[main][:, 0]
        R, t, K = lamp_frames(lights, middle)
        points = (R[picture] @ self._hidden_away(people).mT).mT + t[picture][:, None]
        # small pictures: quicker than building embree's tree of triangles, on the CPU too
        seen = rasterise(
            points,
            self.mannequin.faces,
            K[picture],
            picture,
            pictures=len(main),
            width_px=SHADOW_PX,
            height_px=SHADOW_PX,
        )
        return ShadowMap(seen.depth_m, R, t, float(K[0, 0, 0]))

    def _shaded(
        self, people: People, frame: Fragments, K: Tensor, lights: Lights, shadow: ShadowMap
    ) -> tuple[Tensor, Tensor]:
        """Linear colours times coverage, and coverage, at the photo's resolution."""
        m, n = self.mannequin, self.cfg.supersample
        B, H, W = frame.mesh.shape
        needed, weight = self._samples(frame)
        pixel = torch.nonzero(needed.flatten())[:, 0]
        row, face = frame.mesh.flatten()[pixel], frame.face.flatten()[pixel]
        corners, bary = m.faces[face], frame.bary.view(-1, 3)[pixel][..., None]
        fields = (m.fields[corners] * bary).sum(1)
        normals = torch.nn.functional.normalize((people.normals[row[:, None], corners] * bary).sum(1), dim=-1)
        points = (people.vertices_m[row[:, None], corners] * bary).sum(1)
        picture = torch.div(pixel, H * W, rounding_mode="floor")
        skin = colours(people.outfit.at(row), fields, m.piece_of_face[face], m.eye_m, m.noise)
        lamp = lit_share(shadow, points + 0.012 * normals, picture, 0.02)
        free = openness(frame, K[:, 0, 0] * n, pixel)
        light = lit(skin, normals, points, picture, lights, lamp, free)
        full = torch.zeros((B * H * W, 4), device=self.device)
        rgba = torch.cat([light.clamp(max=4.0), torch.ones_like(light[:, :1])], 1)
        full[pixel] = rgba * weight.flatten()[pixel][:, None]
        mean = full.view(B, H // n, n, W // n, n, 4).mean((2, 4))
        return mean[..., :3], mean[..., 3]

    def _samples(self, frame: Fragments) -> tuple[Tensor, Tensor]:
        """Which samples are shaded, and for how many each stands.

        Where all samples of a pixel show one piece of one person without a step in depth, the first stands for all.
        """
        n = self.cfg.supersample
        B, H, W = frame.mesh.shape

        def blocks(x: Tensor) -> Tensor:
            return x.view(B, H // n, n, W // n, n)

        piece = self.mannequin.piece_of_face[frame.face.clamp(min=0)]
        kind, depth = blocks(frame.mesh * PIECES + piece), blocks(frame.depth_m)
        hit = blocks(frame.mesh >= 0)
        even = hit.all(4).all(2) & (kind.amax((2, 4)) == kind.amin((2, 4)))
        even &= depth.amax((2, 4)) - depth.amin((2, 4)) < _STEP_M
        even_5 = even[:, :, None, :, None]
        first = torch.zeros_like(hit)
        first[:, :, 0, :, 0] = True
        needed = hit & (first | ~even_5)
        weight = torch.where(even_5, float(n * n), 1.0).expand_as(hit)
        return needed.reshape(B, H, W), weight.reshape(B, H, W)

    def _floor(self, people: People, picture: Tensor, up: Tensor, pictures: int) -> Float[Tensor, " B"]:
        """Height over the camera of the lowest point of all people of each picture."""
        body = people.vertices_m[:, : self.mannequin.body_vertices]
        height = (body @ up[picture][..., None])[..., 0].amin(1)
        return torch.zeros(pictures, device=self.device).scatter_reduce(0, picture, height, "amin", include_self=False)

    def _background(
        self, numbers: dict[str, Tensor], K: Tensor, floor_m: Tensor, lights: Lights, shadow: ShadowMap
    ) -> Float[Tensor, "B S S 3"]:
        rays = self._pixels @ torch.linalg.inv(K).mT[:, None]
        albedo, point, floor = paint_background(numbers, rays, numbers["up"], floor_m, self.mannequin.noise, self.bank)
        level = (lights.sky_rgb + 0.35 * lights.key_rgb)[:, None, None]
        pixel = torch.nonzero(floor.flatten())[:, 0]
        S = self.cfg.size_px
        picture = torch.div(pixel, S * S, rounding_mode="floor")
        share = lit_share(shadow, point.view(-1, 3)[pixel], picture, 0.02)
        dark = torch.ones(floor.numel(), device=self.device)
        dark[pixel] = 1 - 0.6 * lights.shadow[picture] * (1 - share)
        return albedo * level * dark.view(*floor.shape, 1)

    def _own_flesh(self, frame: Fragments, rows: Tensor, at: Tensor, main: Tensor, ahead_m: Tensor) -> Tensor:
        """Whether what is seen at each keypoint is the person there, not an arm before it or somebody else.

        At rest the place seen is then about as far from the keypoint as it is now; a place that was far away at rest
        belongs to another limb. Nothing seen at all (beside the outline, by rounding) is as good.
        """
        m = self.mannequin
        mesh, face = frame.mesh[rows, at[..., 1], at[..., 0]], frame.face[rows, at[..., 1], at[..., 0]]
        corner = m.faces[face.clamp(min=0), 0]
        apart_m = (m.anchor_m[corner] - self.keypoints_rest_m).norm(dim=-1)
        return (mesh < 0) | ((mesh == main[:, None]) & (apart_m < 1.4 * ahead_m.clamp(min=0) + self.slack_m))

    def _labelled(
        self, rgb: Tensor, people: People, picture: Tensor, frame: Fragments, hidden: Tensor, K: Tensor,
        draws: Sequence[SceneDraw],
    ) -> Photos:  # fmt: skip
        n, S = self.cfg.supersample, self.cfg.size_px
        main = self._main_rows(draws)
        points = people.posed.keypoints_m()[main]
        px = _project(points, K)
        nearest = frame.depth_m[:, n // 2 :: n, n // 2 :: n]
        own = frame.mesh[:, n // 2 :: n, n // 2 :: n] == main[:, None, None]
        at = px.round().long().clamp(0, S - 1)
        rows = torch.arange(len(draws), device=self.device)[:, None]
        inside = ((px > -0.5) & (px < S - 0.5)).all(-1) & (points[..., 2] > 0)
        ahead_m = points[..., 2] - nearest[rows, at[..., 1], at[..., 0]]
        clear = (ahead_m < self.reach_m) & self._own_flesh(frame, rows, at * n + n // 2, main, ahead_m)
        visible = inside & clear & (hidden[rows, at[..., 1], at[..., 0]] < 0.5)
        crowd_px, crowd_seen = self._crowd(people, picture, frame, hidden, K)
        posed = people.posed
        transl = torch.zeros((len(draws), 3), device=self.device) if posed.root is None else posed.root[main]
        return Photos(
            rgb=rgb,
            mask=own & (hidden < 0.5),
            keypoints_px=px,
            keypoints_m=points,
            visible=visible,
            box_px=crowd_px[:, 0],
            crowd_px=crowd_px,
            crowd_seen=crowd_seen,
            K=K,
            transl_m=transl,
            R_model_joint=posed.R_model_joint[main],
            vertices_m=posed.skin().vertices_m[main],
            draws=tuple(draws),
        )

    def _crowd(
        self, people: People, picture: Tensor, frame: Fragments, hidden: Tensor, K: Tensor
    ) -> tuple[Float[Tensor, "B P 4"], Float[Tensor, "B P"]]:
        """Everybody's box, cut at the border, and how much of it shows them."""
        n, S = self.cfg.supersample, self.cfg.size_px
        surface = _project(self._hidden_away(people), K[picture])
        low = torch.nan_to_num(surface, nan=1e9).amin(1).clamp(-0.5, S - 0.5)
        high = torch.nan_to_num(surface, nan=-1e9).amax(1).clamp(-0.5, S - 0.5)
        seen = frame.mesh[:, n // 2 :: n, n // 2 :: n].masked_fill(hidden >= 0.5, -1)
        pixels = torch.bincount(seen[seen >= 0], minlength=len(picture))
        rank = torch.arange(len(picture), device=self.device) - torch.searchsorted(picture, picture)
        boxes = torch.full((len(K), MOST_PEOPLE, 4), torch.nan, device=self.device)
        shares = torch.zeros((len(K), MOST_PEOPLE), device=self.device)
        boxes[picture, rank] = torch.cat([low, high], 1)
        shares[picture, rank] = pixels / (high - low).prod(1).clamp(min=1)
        return boxes, shares


def _project(points_m: Float[Tensor, "B N 3"], K: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B N 2"]:
    q = points_m @ K.mT
    return q[..., :2] / q[..., 2:].clamp(min=1e-3)


def _lowest(joints_m: Float[Tensor, "N J 3"], up: Float[Tensor, "N 3"]) -> Float[Tensor, " N"]:
    return (joints_m[:, :22] @ up[..., None])[..., 0].amin(1)


def _placed(
    points_m: Float[Tensor, "B 144 3"], framed: Bool[Tensor, "B 144"], K: Tensor, numbers: dict[str, Tensor], S: int
) -> Float[Tensor, "B 3"]:
    """Translation that makes the framed points fill the wanted share of the photo at the wanted place."""
    far = torch.full_like(points_m[:, :1], 1e6)
    low = torch.where(framed[..., None], points_m, far).amin(1)
    high = torch.where(framed[..., None], points_m, -far).amax(1)
    focal, want_px = K[:, 0, 0], numbers["fills"] * S
    nearest = numbers["nearest_m"] - points_m[..., 2].amin(1)
    t = -(low + high) / 2
    t[:, 2] += torch.maximum(focal * (high - low)[:, :2].amax(1) / want_px, nearest + (low + high)[:, 2] / 2)
    for _ in range(5):
        px = _project(points_m + t[:, None], K)
        lo = torch.where(framed[..., None], px, far[..., :2]).amin(1)
        hi = torch.where(framed[..., None], px, -far[..., :2]).amax(1)
        depth = (t[:, 2] + (low + high)[:, 2] / 2) * ((hi - lo).amax(1) / want_px)
        z = torch.maximum(depth - (low + high)[:, 2] / 2, nearest)
        shift = (numbers["place"] * S - (lo + hi) / 2) * (depth / focal)[:, None]
        t = torch.cat([t[:, :2] + shift, z[:, None]], 1)
    return t


def _lights(numbers: dict[str, Tensor]) -> Lights:
    names = ("key", "key_rgb", "second", "second_rgb", "sky_rgb", "ground_rgb", "up", "exposure", "shadow")
    return Lights(*(numbers[n] for n in names))


def _reach(mannequin: Mannequin) -> tuple[Float[Tensor, " 144"], Float[Tensor, " 144"]]:
    """How far before a keypoint its own flesh and cloth may lie, and how far off it may be at rest; metres.

    Joints of the trunk lie deep, fingers and points of the surface do not.
    """
    points = torch.tensor(np.array(list(mannequin.points_m.values())), dtype=torch.float32)
    inside = torch.cdist(points, mannequin.template.cpu()).amin(1)
    reach, slack = 1.5 * inside + 0.04, torch.full_like(inside, 0.07)
    for i, name in enumerate(mannequin.points_m):
        deep = {
            "pelvis": 0.27,
            "spine": 0.27,
            "hip": 0.22,
            "collar": 0.16,
            "shoulder": 0.14,
            "neck": 0.14,
            "head": 0.20,
        }
        stem = name.split("_")[-1] if name.startswith(("left", "right")) else name.split("_")[0]
        reach[i] = max(float(reach[i]), deep.get(stem, 0.0))
        if part_of(name) in ("left_hand", "right_hand"):
            reach[i], slack[i] = 2 * inside[i] + 0.012, 0.02
        elif part_of(name) == "head" and name not in ("head", "jaw"):
            reach[i], slack[i] = inside[i] + 0.02, 0.03
    return reach, slack
