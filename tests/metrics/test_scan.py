"""Distances from points to a mesh, and the scan protocol built on them."""

import sys
from fractions import Fraction

import numpy as np
import pytest
import trimesh

from metrics import twins
from openexpose.errors import DataError, MissingExtra, ShapeError
from openexpose.metrics import FaceMask, Surface, p2s_mm, rmse3d, scan_distances
from oracles import random_rotations

EXACT = 1e-12  # in units of the mesh, whose size is about 1: rounding of float64


@pytest.fixture(params=["numpy", "igl"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "igl":
        pytest.importorskip("igl")
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def soup(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of very different sizes and shapes."""
    middle = rng.standard_normal((count, 1, 3))
    corners = middle + rng.standard_normal((count, 3, 3)) * 10 ** rng.uniform(-2, 0, (count, 1, 1))
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("reach", [0.01, 1.0, 100.0])
def test_as_trying_every_face(rng: np.random.Generator, engine: str, reach: float) -> None:
    vertices, faces = soup(rng, 60)
    points = reach * rng.standard_normal((150, 3))
    got = Surface(vertices, faces, engine=engine).closest(points)
    want = twins.distance_to_mesh(points, vertices, faces)
    np.testing.assert_allclose(got.distance, want, atol=EXACT * max(1, reach))
    for p, d, f in zip(points, got.distance, got.face, strict=True):
        own = np.linalg.norm(p - twins.closest_on_triangle(p, *vertices[faces[f]]))
        assert own == pytest.approx(d, abs=EXACT * max(1, reach))


def test_faces_without_area_are_segments_and_points(rng: np.random.Generator, engine: str) -> None:
    a, b, c = np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    segment = Surface(np.stack([a, b, c]), np.array([[0, 2, 1], [0, 0, 0], [1, 1, 2]]), engine=engine)
    points = np.array([[2.0, 1, 0], [-1, 0, 0], [4, 0, 0], [0.5, -1, 1], [1, 0, 0]])
    np.testing.assert_allclose(segment.closest(points).distance, [1, 1, 1, 2**0.5, 0], atol=EXACT)
    point = Surface(np.array([a, b]), np.array([[1, 1, 1]]), engine=engine)
    np.testing.assert_allclose(point.closest(points).distance, np.linalg.norm(points - b, axis=1), atol=EXACT)
    back = Surface(np.stack([a, b, c]), np.array([[1, 0, 2], [0, 0, 1], [2, 2, 2]]), engine=engine)
    np.testing.assert_allclose(back.closest(points).distance, [1, 1, 1, 2**0.5, 0], atol=EXACT)


def test_one_big_face_among_many_small_ones(rng: np.random.Generator, engine: str) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices = np.concatenate([np.asarray(ball.vertices), [[-50.0, -50, -1.2], [50, -50, -1.2], [0, 90, -1.2]]])
    faces = np.concatenate([np.asarray(ball.faces), [[642, 643, 644]]])
    points = rng.standard_normal((500, 3)) * [3, 3, 1]
    want = np.minimum(
        Surface(np.asarray(ball.vertices), np.asarray(ball.faces), engine=engine).closest(points).distance,
        [np.linalg.norm(p - twins.closest_on_triangle(p, *vertices[-3:])) for p in points],
    )
    np.testing.assert_allclose(Surface(vertices, faces, engine=engine).closest(points).distance, want, atol=EXACT)


def test_points_of_the_surface_and_of_a_sphere(rng: np.random.Generator, engine: str) -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    surface = Surface(np.asarray(ball.vertices), np.asarray(ball.faces), engine=engine)
    on = ball.sample(2000, seed=1)
    assert surface.closest(np.asarray(on)).distance.max() < EXACT
    corners = surface.closest(2 * np.asarray(ball.vertices)).distance
    np.testing.assert_allclose(corners, 1, atol=EXACT)  # straight above each corner of a convex body


def test_moving_everything_changes_nothing(rng: np.random.Generator, engine: str) -> None:
    vertices, faces = soup(rng, 200)
    points = rng.standard_normal((300, 3))
    R, t = random_rotations(rng, (), 3.0), np.array([100.0, 20, -5])
    here = Surface(vertices, faces, engine=engine).closest(points).distance
    there = Surface(vertices @ R.T + t, faces, engine=engine).closest(points @ R.T + t).distance
    np.testing.assert_allclose(there, here, atol=1e-11)  # coordinates of 100 lose two digits


def test_points_that_are_equally_far_from_all_faces(engine: str) -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    count = 4000 if engine == "numpy" else 200  # so many that blocks must halve their lists
    points = 1e-3 * np.random.default_rng(0).standard_normal((count, 3))
    surface = Surface(np.asarray(ball.vertices), np.asarray(ball.faces), engine=engine)
    got = surface.closest(points).distance
    few = twins.distance_to_mesh(points[:2], np.asarray(ball.vertices), np.asarray(ball.faces))
    np.testing.assert_allclose(got[:2], few, atol=EXACT)
    assert got.min() > 0.98 and got.max() < 1


def test_no_points_no_distances(rng: np.random.Generator, engine: str) -> None:
    assert Surface(*soup(rng, 3), engine=engine).closest(np.zeros((0, 3))).distance.shape == (0,)


def test_refusals(rng: np.random.Generator, engine: str) -> None:
    vertices, faces = soup(rng, 4)
    surface = Surface(vertices, faces, engine=engine)
    with pytest.raises(ShapeError, match=r"points must be \(N, 3\)"):
        surface.closest(np.zeros((4, 2)))
    with pytest.raises(DataError, match="NaN"):
        surface.closest(np.full((4, 3), np.nan))
    with pytest.raises(ShapeError, match="F > 0"):
        Surface(vertices, faces[:0], engine=engine)
    with pytest.raises(DataError, match="outside 0..11"):
        Surface(vertices, faces + 1, engine=engine)
    with pytest.raises(DataError, match="NaN or infinite"):
        Surface(vertices * np.inf, faces, engine=engine)


@pytest.mark.parametrize("far", [1e-6, 1.0, 1e3])
def test_needles_and_points_on_corners_and_edges(rng: np.random.Generator, engine: str, far: float) -> None:
    """Faces thinner and thinner, down to rounding, seen from their corners, edges and middles, and from beside them."""
    atol = EXACT if engine == "numpy" else 1e-9  # units of the mesh; aim: 1e-6 mm
    a, along = rng.standard_normal((2, 30, 1, 3))
    width = 10.0 ** np.linspace(-17, -1, 30)[:, None, None]
    needles = a + rng.uniform(-0.5, 1.5, (30, 3, 1)) * along + width * rng.standard_normal((30, 3, 3))
    vertices, faces = needles.reshape(-1, 3), np.arange(90).reshape(-1, 3)
    share = np.concatenate([np.eye(3), (np.ones((3, 3)) - np.eye(3)) / 2, rng.dirichlet([1, 1, 1], 3)])
    on = np.einsum("sk,fkc->fsc", share, needles).reshape(-1, 3)
    surface = Surface(vertices, faces, engine=engine)
    assert surface.closest(on).distance.max() < atol
    points = on[rng.permutation(len(on))[:20]] + far * rng.standard_normal((20, 3))
    exact = np.vectorize(Fraction, otypes=[object])
    want = twins.distance_to_mesh(exact(points), exact(vertices), faces)
    np.testing.assert_allclose(surface.closest(points).distance, want, atol=atol * max(1, far))
    only = Surface(vertices, faces[:10], engine=engine)  # nothing but needles
    np.testing.assert_allclose(only.closest(on[:90]).distance, 0, atol=atol)


def test_both_engines_agree_on_a_scan(rng: np.random.Generator) -> None:
    pytest.importorskip("igl")
    head = trimesh.creation.icosphere(subdivisions=4, radius=80)  # mm
    vertices, faces = np.asarray(head.vertices) * [0.8, 1.2, 1], np.asarray(head.faces)
    points = vertices[rng.integers(0, len(vertices), 3000)] + rng.normal(0, 5, (3000, 3))
    assert Surface(vertices, faces).engine == "igl"
    one, two = (Surface(vertices, faces, engine=e).closest(points) for e in ("igl", "numpy"))
    np.testing.assert_allclose(one.distance, two.distance, atol=1e-10)  # mm
    assert (one.face == two.face).mean() > 0.7  # corners and edges belong to several


def test_without_libigl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openexpose.metrics.surface.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "igl", None)
    assert Surface(np.eye(3), np.array([[0, 1, 2]])).engine == "numpy"
    with pytest.raises(MissingExtra, match=r"openexpose\[igl\]"):
        Surface(np.eye(3), np.array([[0, 1, 2]]), engine="igl")


LANDMARKS = np.array([[-45.0, 0, 0], [-15, 0, 5], [15, 0, 5], [45, 0, 0], [0, -40, 20], [-25, -70, 5], [25, -70, 5]])


def test_the_mask_by_hand() -> None:
    mask = FaceMask.of(LANDMARKS)
    bridge = np.array([0.0, 0, 5])
    np.testing.assert_allclose(mask.centre, 0.7 * LANDMARKS[4] + 0.3 * bridge)
    assert mask.radius == pytest.approx(0.6 * (90 + np.hypot(40, 15)))
    assert mask.holds(np.stack([mask.centre, mask.centre + [mask.radius * 1.01, 0, 0]])).tolist() == [True, False]


def test_a_scan_of_the_prediction_itself_has_no_error(rng: np.random.Generator) -> None:
    """Any similarity between prediction and scan is taken out by the seven landmarks."""
    head = trimesh.creation.icosphere(subdivisions=4, radius=80)
    vertices, faces = np.asarray(head.vertices), np.asarray(head.faces)
    R = random_rotations(rng, (), 2.0)
    pred, marks = 0.001 * vertices @ R.T + 0.3, 0.001 * LANDMARKS @ R.T + 0.3
    scan = np.asarray(head.sample(3000, seed=2))
    assert rmse3d(pred, faces, marks, scan=scan, scan_landmarks=LANDMARKS) < 1e-9  # mm
    each = scan_distances(pred, faces, marks, scan=scan + [0, 0, 0.1], scan_landmarks=LANDMARKS)
    assert len(each) == FaceMask.of(LANDMARKS).holds(scan + [0, 0, 0.1]).sum() and 0 < each.max() <= 0.1 + 1e-9
    np.testing.assert_allclose(p2s_mm(0.001 * vertices, faces, 0.001 * (scan * 1.01)).mean(), 0.8, atol=0.05)  # mm


def test_scan_refusals() -> None:
    vertices, faces = np.eye(3), np.array([[0, 1, 2]])
    with pytest.raises(ShapeError, match="seven landmarks"):
        FaceMask.of(LANDMARKS[:6])
    with pytest.raises(DataError, match="no scan point lies inside"):
        scan_distances(vertices, faces, LANDMARKS, scan=np.full((5, 3), 1e4), scan_landmarks=LANDMARKS)
