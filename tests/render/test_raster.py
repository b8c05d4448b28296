"""The torch rasteriser sees what embreex sees."""

import numpy as np
import pytest
import torch
import trimesh
from jaxtyping import TypeCheckError

from openexpose.errors import ConfigError, ShapeError
from openexpose.geometry.camera import PerspectiveCamera
from openexpose.render.raster import Fragments, rasterise
from openexpose.render.raycast import Look, render_scene
from openexpose.render.scene import Mesh, Scene

K = np.array([[150.0, 0, 63.5], [0, 150.0, 63.5], [0, 0, 1.0]])
SIZE = 128


def ball_and_box() -> tuple[np.ndarray, np.ndarray]:
    ball, box = trimesh.creation.icosphere(4), trimesh.creation.box()
    v = np.concatenate([ball.vertices * 0.8, box.vertices * 0.9 + [0.8, 0.3, 0.2]]) + [0, 0, 3.0]
    return v, np.concatenate([ball.faces, box.faces + len(ball.vertices)])


def drawn(points: list[np.ndarray], faces: np.ndarray, picture: list[int], pictures: int, **more: int) -> Fragments:
    return rasterise(
        torch.tensor(np.stack(points), dtype=torch.float32),
        torch.tensor(faces),
        torch.tensor(K, dtype=torch.float32).expand(len(points), 3, 3),
        torch.tensor(picture),
        pictures=pictures,
        width_px=SIZE,
        height_px=SIZE,
        **more,
    )


def test_it_sees_the_faces_depths_and_weights_that_rays_see() -> None:
    v, f = ball_and_box()
    got = drawn([v], f, [0], 1)
    camera = PerspectiveCamera(K, np.eye(4), SIZE, SIZE)
    want = render_scene(Scene.of(Mesh(v, f)), camera, look=Look(samples=1, occlusion_rays=0))
    face = got.face[0].numpy()
    assert ((face >= 0) == (want.face_ids >= 0)).mean() > 0.9995  # pixels on the outline may fall either way
    same = (face == want.face_ids) & (face >= 0)
    assert same.sum() > 0.995 * (face >= 0).sum()  # pixels on an edge may take either neighbour
    assert np.abs(got.depth_m[0].numpy()[same] - want.depth_m[same]).max() < 1e-4  # metres, float32 at 3 m
    assert np.abs(got.bary[0].numpy() - want.bary)[same].max() < 5e-3  # of a face about a pixel wide


def test_chunks_and_batches_change_nothing() -> None:
    v, f = ball_and_box()
    alone = drawn([v], f, [0], 1)
    many = drawn([v + [0, 0.2, 0], v], f, [1, 0], 2, chunk=1000)
    assert torch.equal(many.face[0], alone.face[0]) and torch.equal(many.depth_m[0], alone.depth_m[0])
    assert (many.mesh[0].unique().tolist(), many.mesh[1].unique().tolist()) == ([-1, 1], [-1, 0])


def test_meshes_of_one_picture_hide_each_other() -> None:
    v, f = ball_and_box()
    both = drawn([v, v + [0, 0, 1.5]], f, [0, 0], 1)
    front = drawn([v], f, [0], 1)
    shown = front.face[0] >= 0
    assert (both.mesh[0][shown] == 0).all() and torch.equal(both.face[0][shown], front.face[0][shown])


def test_what_is_not_a_number_or_behind_the_camera_is_left_out() -> None:
    v, f = ball_and_box()
    assert (drawn([v * np.nan], f, [0], 1).face == -1).all()
    assert (drawn([v - [0, 0, 8]], f, [0], 1).face == -1).all()
    got = drawn([v - [0, 0, 8]], f, [0], 1)
    assert torch.isinf(got.depth_m).all() and (got.bary == 0).all()


def test_wrong_shapes_and_empty_pictures_are_refused() -> None:
    v, f = ball_and_box()
    with pytest.raises((ShapeError, TypeCheckError)):  # under pytest the annotations refuse first
        drawn([v], f, [0, 1], 2)
    with pytest.raises(ConfigError, match="positive"):
        drawn([v], f, [0], 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_sees_the_same() -> None:
    v, f = ball_and_box()
    here = drawn([v], f, [0], 1)
    points, k = torch.tensor(v, dtype=torch.float32)[None].cuda(), torch.tensor(K, dtype=torch.float32)[None].cuda()
    there = rasterise(
        points, torch.tensor(f).cuda(), k, torch.tensor([0]).cuda(), pictures=1, width_px=SIZE, height_px=SIZE
    )
    assert (there.face.cpu() == here.face).float().mean() > 0.999  # edges may take either neighbour
