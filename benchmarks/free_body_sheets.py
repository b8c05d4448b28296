"""Pictures of the free models for docs/images: shapes, poses, hands, expressions, keypoints.

    python benchmarks/free_body_sheets.py --poses POSES.npz [--out docs/images]

POSES.npz: `body_pose` (N, 21, 3) and `global_orient` (N, 3) axis-angle; needed for the sheet of poses only.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import roma
import torch

from openexpose.body import load_model
from openexpose.body.free import load_facial_actions
from openexpose.body.hands import hand_pose, named_hand_poses
from openexpose.body.stages import BodyModel, Mesh
from openexpose.geometry.camera import PerspectiveCamera, orbit
from openexpose.render.overlay import PALETTE, draw_keypoints
from openexpose.render.raycast import Look, render_scene
from openexpose.render.scene import SKIN, Scene
from openexpose.render.scene import Mesh as Drawn
from openexpose.render.sheet import PAPER, sheet

HANDS = (
    "flat",
    "relaxed",
    "slightly_curled",
    "fist",
    "grip",
    "point",
    "pinch",
    "ok",
    "thumbs_up",
    "peace",
    "claw",
    "spread",
)
ACTIONS = (
    "jawOpen",
    "mouthSmileLeft+mouthSmileRight",
    "mouthFunnel",
    "mouthPucker",
    "mouthFrownLeft+mouthFrownRight",
    "browInnerUp",
    "browDownLeft+browDownRight",
    "eyeBlinkLeft+eyeBlinkRight",
    "eyeWideLeft+eyeWideRight",
    "cheekPuff",
    "noseSneerLeft+noseSneerRight",
    "eyeLookOutLeft+eyeLookInRight",
)
QUALITY = 82


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--poses", type=Path)
    parser.add_argument("--only", default="shapes poses hands expressions keypoints face")
    args = parser.parse_args()
    torch.set_num_threads(2)
    args.out.mkdir(parents=True, exist_ok=True)
    body = load_model("free")
    makers = {
        "shapes": lambda: shapes(body),
        "poses": lambda: poses(body, args.poses),
        "hands": lambda: hands(body),
        "expressions": expressions,
        "keypoints": lambda: keypoints(body),
        "face": lambda: face(body),
    }
    for name in args.only.split():
        if name == "poses" and args.poses is None:
            continue
        picture = makers[name]()
        path = args.out / f"freebody_{name}.jpg"
        cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        print(f"{path} {picture.shape[1]} x {picture.shape[0]}, {path.stat().st_size / 1e3:.0f} kB")


def colours(model: BodyModel) -> np.ndarray:
    """Skin with white eyes, dark pupils, teeth and tongue; plain skin for a part."""
    out = np.tile(np.array(SKIN.colour, np.float32), (model.num_vertices, 1))
    for region, colour in (("teeth", (0.93, 0.91, 0.86)), ("tongue", (0.75, 0.38, 0.38))):
        if region in model.regions:
            out[model.regions[region].numpy()] = colour
    for region in ("left_eyeball", "right_eyeball"):
        if region in model.regions:
            ids = model.regions[region].numpy()
            out[ids] = (0.95, 0.95, 0.95)
            out[ids[-1]] = (0.15, 0.1, 0.08)
    return out


def picture(mesh: Mesh, camera: PerspectiveCamera) -> np.ndarray:
    model = mesh.posed.shaped.model
    drawn = Drawn(
        mesh.vertices_m.numpy().astype(np.float64), mesh.faces.numpy(), material=SKIN, vertex_colours=colours(model)
    )
    return render_scene(Scene.of(drawn), camera, look=Look()).over(PAPER)


def shapes(body: BodyModel) -> np.ndarray:
    pictures, captions = [], []
    frame = np.array([[-0.95, -1.5, -0.2], [0.95, 0.62, 0.2]])
    for k in range(10):
        for value in (-2.0, 2.0):
            betas = torch.zeros(10)
            betas[k] = value
            camera = orbit(frame, azimuth_rad=0.35, width_px=230, height_px=240)
            pictures.append(picture(body.shape(betas).pose().skin(), camera))
            captions.append(f"beta {k}: {value:+.0f}")
    return sheet(pictures, columns=6, captions=captions, title="FreeBody: two standard deviations along each beta")


def poses(body: BodyModel, path: Path) -> np.ndarray:
    with np.load(path) as bank:
        rows = np.random.default_rng(9).choice(len(bank["body_pose"]), 16, replace=False)
        turns = torch.from_numpy(
            np.concatenate([bank["global_orient"][rows, None], bank["body_pose"][rows]], 1).astype(np.float32)
        )
    pictures = []
    for k, turn in enumerate(turns):
        R = torch.eye(3).expand(55, 3, 3).clone()
        R[:22] = roma.rotvec_to_rotmat(turn)
        R[25:40], R[40:55] = hand_pose(body, "relaxed", "left"), hand_pose(body, "relaxed", "right")
        betas = torch.from_numpy(np.random.default_rng(k).normal(0, 1, 10).astype(np.float32))
        mesh = body.shape(betas).pose(R).skin()
        camera = orbit(
            mesh.vertices_m.numpy().astype(np.float64), azimuth_rad=0.5, elevation_rad=0.15, width_px=270, height_px=300
        )
        pictures.append(picture(mesh, camera))
    return sheet(pictures, columns=6, title="FreeBody: random people in poses of the bank")


def hands(body: BodyModel) -> np.ndarray:
    pictures, captions = [], []
    ids = body.regions["left_hand"]
    for name in HANDS:
        assert name in named_hand_poses()
        R = torch.eye(3).expand(55, 3, 3).clone()
        R[25:40] = hand_pose(body, name, "left")
        R[0] = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, np.pi / 2]))
        mesh = body.shape().pose(R).skin()
        points = mesh.vertices_m[ids].numpy().astype(np.float64)
        frame = np.concatenate([points, points.mean(0) + 0.09 * np.array([[1, 1, 1], [-1, -1, -1]])])
        for azimuth in (np.pi / 2, 0.5):
            pictures.append(
                picture(mesh, orbit(frame, azimuth_rad=azimuth, elevation_rad=0.1, width_px=190, height_px=200))
            )
            captions.append(name.replace("_", " "))
    return sheet(pictures, columns=8, captions=captions, title="Hands: palm and thumb side")


def expressions() -> np.ndarray:
    head, actions = load_model("free-head"), load_facial_actions()
    pictures, captions = [], []
    for combined in ACTIONS:
        rows = [actions.names.index(n) for n in combined.split("+")]
        R = torch.eye(3).expand(5, 3, 3).clone()
        for joint, turn in ((2, actions.jaw_rad), (3, actions.left_eye_rad), (4, actions.right_eye_rad)):
            R[joint] = roma.rotvec_to_rotmat(torch.from_numpy(turn[rows].sum(0)).float())
        coefficients = torch.from_numpy(actions.expression[rows].sum(0)).float()
        mesh = head.shape(expression=coefficients).pose(R).skin()
        frame = head.shape().pose().skin().vertices_m.numpy().astype(np.float64)
        pictures.append(picture(mesh, orbit(frame, azimuth_rad=0.3, width_px=250, height_px=280, margin=1.0)))
        captions.append(combined.replace("+", " + "))
    return sheet(pictures, columns=6, captions=captions, title="Facial actions on FreeHead", text_px=11)


def keypoints(body: BodyModel) -> np.ndarray:
    """Body, hand and foot points with names."""
    mesh = body.shape().pose().skin()
    v, points = mesh.vertices_m.numpy().astype(np.float64), body.shape().pose().keypoints_m().numpy().astype(np.float64)
    names = list(body.keypoint_names)
    whole = [k for k in range(66) if k < 25 or k >= 55]
    left = [k for k, n in enumerate(names) if n.startswith("left_") and (25 <= k < 40 or 66 <= k < 71)] + [
        names.index("left_wrist")
    ]
    hand = v[body.regions["left_hand"].numpy()]
    feet = v[v[:, 1] < v[:, 1].min() + 0.12]
    top = orbit(hand, azimuth_rad=0.0, elevation_rad=1.5, width_px=560, height_px=420)
    front = orbit(v, azimuth_rad=0.0, width_px=1000, height_px=880)
    foot = orbit(feet, azimuth_rad=0.6, elevation_rad=0.5, width_px=560, height_px=420)
    toes = [k for k in range(66) if k in (7, 8, 10, 11) or 60 <= k < 66]
    made = [
        labelled(mesh, front, points, names, whole),
        labelled(mesh, top, points, names, left),
        labelled(mesh, foot, points, names, toes),
    ]
    side = np.concatenate(
        [np.pad(p, ((0, 440 - p.shape[0]), (0, 0), (0, 0)), constant_values=246) for p in made[1:]], 0
    )
    return np.concatenate([made[0], side], 1)


def face(body: BodyModel) -> np.ndarray:
    """The 68 face points from the front and with the head turned 30 degrees to either side; the contour follows."""
    names = list(body.keypoint_names)
    pictures, captions = [], []
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    for yaw in (-30, 0, 30):
        R = torch.eye(3).expand(55, 3, 3).clone()
        R[0] = flip @ roma.rotvec_to_rotmat(torch.tensor([0.0, float(np.deg2rad(yaw)), 0.0]))
        posed = body.shape().pose(R)
        mesh = posed.skin()
        upright = np.diag([1.0, -1.0, -1.0])  # camera axes (y down, z away) back to the picture's world
        points = posed.keypoints_m().numpy().astype(np.float64) @ upright
        vertices = mesh.vertices_m.numpy().astype(np.float64) @ upright
        camera = orbit(vertices[body.regions["head"].numpy()], azimuth_rad=0.0, width_px=520, height_px=620, margin=1.0)
        drawn = Drawn(vertices, mesh.faces.numpy(), material=SKIN, vertex_colours=colours(body))
        image = render_scene(Scene.of(drawn), camera, look=Look()).over(PAPER)
        order = [*range(127, 144), *range(76, 127)]
        label = [str(k) for k in range(68)]
        pictures.append(draw_keypoints(image, camera.project(points[order]), labels=label, radius_px=2, text_px=10))
        captions.append(
            f"turned {abs(yaw)} degrees to the {'left' if yaw > 0 else 'right'}" if yaw else "from the front"
        )
    assert names[127] == "right_contour_1"
    return sheet(pictures, columns=3, captions=captions, title="The 68 face points (iBUG numbers)")


def labelled(
    mesh: Mesh, camera: PerspectiveCamera, points: np.ndarray, names: list[str], chosen: list[int]
) -> np.ndarray:
    image = picture(mesh, camera)
    shown = camera.project(points[chosen])
    colour = [PALETTE[k % len(PALETTE)] for k in range(len(chosen))]
    return draw_keypoints(image, shown, colours=colour, labels=[names[k] for k in chosen], text_px=10)


if __name__ == "__main__":
    main()
