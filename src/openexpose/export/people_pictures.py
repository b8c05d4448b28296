"""Pictures of a photo's people: overlay, side and top view, and the squares that the networks looked at.

The scene frame: x right, y up, z towards the viewer, metres, the photo's camera at the origin looking along -z. The
meshes, the files and the page's viewer are in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from openexpose.geometry.camera import T_OPENGL_OPENCV, PerspectiveCamera, orbit
from openexpose.prediction import Prediction
from openexpose.render.overlay import composite
from openexpose.render.raycast import Look, outline_box, render_scene
from openexpose.render.scene import Colour, Material, Mesh, Scene
from openexpose.render.sheet import sheet

COLOURS: tuple[Colour, ...] = (
    (0.62, 0.76, 0.92),
    (0.96, 0.73, 0.60),
    (0.66, 0.86, 0.68),
    (0.90, 0.68, 0.84),
    (0.94, 0.86, 0.56),
    (0.60, 0.84, 0.84),
    (0.78, 0.74, 0.95),
    (0.84, 0.78, 0.70),
)
"""sRGB of the people, in order, from the start again after eight."""
QUICK = Look(samples=2, occlusion_rays=12)
"""Four rays at borders and twelve a vertex: no difference to see in an overlay, at half the time."""
MAX_RENDERED_PX = 1_500_000
"""Pixels that are rendered of one overlay; a larger one is enlarged to the photo's size."""
_INK, _LINE, _PAPER = (70, 74, 84), (226, 228, 234), (250, 250, 252)
Side = Literal["side", "top"]
Label = Literal["body", "right_hand", "left_hand", "head"]


def colour_of(person: int) -> Colour:
    """The colour that this person has in every picture of the photo."""
    return COLOURS[person % len(COLOURS)]


def scene_vertices_m(person: Prediction) -> Float[np.ndarray, "V 3"]:
    """The surface in the scene frame, metres."""
    return person.vertices_m * T_OPENGL_OPENCV.diagonal()[:3].astype(np.float32)


def scene_camera(camera: PerspectiveCamera) -> PerspectiveCamera:
    """The photo's camera for points of the scene frame."""
    return replace(camera, T_camera_world=camera.T_camera_world @ T_OPENGL_OPENCV)


@dataclass(frozen=True, eq=False)
class Stage:
    """Everybody of one photo, ready to be drawn. One to N people."""

    people: Sequence[Prediction]
    scene: Scene
    """Their meshes in the scene frame, in order."""

    @classmethod
    def of(cls, people: Sequence[Prediction]) -> "Stage":
        """Builds the ray-tracing structure. Raises DataError for nobody or vertices that are not finite."""
        meshes = [Mesh(scene_vertices_m(p), p.faces, _material(p.person)) for p in people]
        return cls(people, Scene.of(*meshes))

    def openness(self) -> list[Float[np.ndarray, " V"]]:
        """How much of the sky each person's vertices see: what shades the pictures, for the page's viewer."""
        values = self.scene.openness(QUICK.occlusion_rays, QUICK.occlusion_reach_m)
        ends = np.cumsum([len(m.vertices_m) for m in self.scene.meshes])
        return np.split(values, ends[:-1])


def overlay(stage: Stage, photo: UInt8[np.ndarray, "H W 3"], *, opacity: float = 0.92) -> UInt8[np.ndarray, "H W 3"]:
    """The photo with its people's meshes laid over it; whoever is nearer hides who is farther."""
    camera = scene_camera(stage.people[0].camera)
    rows, columns = outline_box(stage.scene, camera)
    top, left = int(rows.start), int(columns.start)
    height, width = int(rows.stop) - top, int(columns.stop) - left
    if height <= 0 or width <= 0:  # nobody is in the picture
        return photo.copy()
    shrink = min(1.0, (MAX_RENDERED_PX / (height * width)) ** 0.5)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    rendered = render_scene(stage.scene, _window(camera, (left, top), (width, height), size), look=QUICK)
    out = photo.copy()
    if shrink < 1:
        out[rows, columns] = _enlarged_over(photo[rows, columns], rendered.rgba(), opacity)
    else:
        out[rows, columns] = composite(photo[rows, columns], rendered, opacity=opacity)
    return out


def view(stage: Stage, side: Side, *, size_px: tuple[int, int] = (640, 560)) -> UInt8[np.ndarray, "H W 3"]:
    """The people from the photo's right-hand side, or from above, over a grid of half metres.

    The photo's camera is on the left of a side view and below a top view. size_px: width and height.
    """
    points = stage.scene.vertices.astype(np.float64)
    camera = orbit(
        points,
        azimuth_rad=np.pi / 2 if side == "side" else 0.0,
        elevation_rad=0.0 if side == "side" else np.pi / 2 - 1e-4,
        fov_y_rad=0.12,
        width_px=size_px[0],
        height_px=size_px[1],
        margin=1.12,
    )
    paper = _grid(camera, points.mean(axis=0))
    picture = composite(paper, render_scene(stage.scene, camera, look=QUICK))
    note = "side · the camera is on the left" if side == "side" else "top · the camera is below"
    return _noted(picture, f"{note} · grid 0.5 m")


def parts_sheet(
    person: Prediction,
    photo: UInt8[np.ndarray, "H W 3"],
    drawn: UInt8[np.ndarray, "H W 3"] | None,
    *,
    size_px: int = 200,
) -> UInt8[np.ndarray, "h w 3"]:
    """What each network saw of a person, and below it the same squares of the overlay (`drawn`), if there is one.

    Captions say how sure the part's network is, and when the body network's own guess stayed instead.
    """
    squares = _squares(person)
    rows = [_cut(photo, corners, size_px) for corners in squares.values()]
    captions = [_caption(person, label) for label in squares]
    if drawn is not None:
        rows += [_cut(drawn, corners, size_px) for corners in squares.values()]
        captions += ["answer"] * len(squares)
    return sheet(rows, columns=len(squares), captions=captions, text_px=13)


def _squares(person: Prediction) -> Mapping[Label, Float[np.ndarray, "4"]]:
    (x, y), half = person.crop.centre_px, 0.5 * person.crop.side_px
    squares: dict[Label, np.ndarray] = {"body": np.array([x - half, y - half, x + half, y + half])}
    return squares | {name: part.corners_px.astype(np.float64) for name, part in person.parts.items()}


def _caption(person: Prediction, label: Label) -> str:
    if label == "body":
        return f"body · person {person.score:.0%}"
    part = person.parts[label]
    words = label.replace("_", " ")
    if part.confidence is not None:
        words += f" · {part.confidence:.0%}"
    return words if part.used else f"{words} · not used"


def _cut(
    picture: UInt8[np.ndarray, "H W 3"], corners_px: Float[np.ndarray, "4"], size_px: int
) -> UInt8[np.ndarray, "S S 3"]:
    """A square of the picture, bilinear, black outside; a square without area is black."""
    x0, y0, x1, y1 = (float(v) for v in corners_px)
    side = max(x1 - x0, y1 - y0)
    if not (np.isfinite(corners_px).all() and side > 0):
        return np.zeros((size_px, size_px, 3), np.uint8)
    pad = 2
    c0, r0 = (int(np.clip(np.floor(v) - pad, 0, n)) for v, n in ((x0, picture.shape[1]), (y0, picture.shape[0])))
    c1, r1 = (int(np.clip(np.ceil(v) + pad, 0, n)) for v, n in ((x1, picture.shape[1]), (y1, picture.shape[0])))
    if c1 <= c0 or r1 <= r0:
        return np.zeros((size_px, size_px, 3), np.uint8)
    part, k = picture[r0:r1, c0:c1], size_px / side
    if k < 0.5:  # bilinear alone would skip pixels
        small = (max(1, round(part.shape[1] * k * 2)), max(1, round(part.shape[0] * k * 2)))
        part = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
    fx, fy = part.shape[1] / (c1 - c0), part.shape[0] / (r1 - r0)
    T = np.array([[k / fx, 0, (c0 - x0) * k], [0, k / fy, (r0 - y0) * k]])
    return np.asarray(cv2.warpAffine(part, T, (size_px, size_px), flags=cv2.INTER_LINEAR), np.uint8)


def _material(person: int) -> Material:
    return Material(colour=colour_of(person), wrap=(0.14, 0.13, 0.12), specular=0.12, shininess=22.0, rim=0.10)


def _window(
    camera: PerspectiveCamera, corner: tuple[int, int], full: tuple[int, int], size: tuple[int, int]
) -> PerspectiveCamera:
    """The camera of a part of the picture, resampled to `size`: pixel (column, row) -> (c + 0.5 - corner) k - 0.5."""
    k = np.array(size) / np.array(full)
    T = np.array(
        [
            [k[0], 0, (0.5 - corner[0]) * k[0] - 0.5],
            [0, k[1], (0.5 - corner[1]) * k[1] - 0.5],
            [0, 0, 1.0],
        ]
    )
    return replace(camera, K=T @ camera.K, width_px=size[0], height_px=size[1])


def _enlarged_over(
    photo: UInt8[np.ndarray, "H W 3"], rgba: UInt8[np.ndarray, "h w 4"], opacity: float
) -> UInt8[np.ndarray, "H W 3"]:
    """A smaller rendering over the photo; colours are weighted by alpha so that borders stay clean."""
    a = rgba[..., 3:].astype(np.float32) / 255
    size = (photo.shape[1], photo.shape[0])
    large = cv2.resize(np.concatenate([rgba[..., :3] * a, a], axis=-1), size, interpolation=cv2.INTER_LINEAR)
    return np.rint(photo * (1 - large[..., 3:] * opacity) + large[..., :3] * opacity).astype(np.uint8)


def _grid(camera: PerspectiveCamera, through_m: Float[np.ndarray, " 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Lines of half metres, square to the view, through a point of the scene frame."""
    paper = np.empty((camera.height_px, camera.width_px, 3), np.uint8)
    paper[:] = _PAPER
    depth = float(camera.to_camera(through_m)[2])
    step = 0.5 * float(camera.K[0, 0]) / depth
    while step < 12:  # far apart people: fewer lines
        step *= 2
    middle = camera.project(through_m)
    for axis, count in ((0, camera.width_px), (1, camera.height_px)):
        at = np.rint(np.arange(middle[axis] % step, count - 1, step)).astype(int)
        paper[(slice(None), at) if axis == 0 else (at, slice(None))] = _LINE
    return paper


def _noted(picture: UInt8[np.ndarray, "H W 3"], text: str) -> UInt8[np.ndarray, "H W 3"]:
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((10, 8), text, font=ImageFont.load_default(size=13), fill=_INK)
    return np.asarray(image).copy()
