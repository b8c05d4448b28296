"""The dressed figure: anatomy, refinement, garments, extra pieces."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openexpose.body.load import load_arrays
from openexpose.errors import ConfigError, DataError
from openexpose.render.scene import vertex_normals
from openexpose.synth.anatomy import EYE, SKIN, TEETH, TONGUE, inside_polygon, pieces
from openexpose.synth.cloth import cover
from openexpose.synth.extras import HAIR, SKIRT
from openexpose.synth.mannequin import Mannequin, normals_of
from openexpose.synth.noise import Noise, hashed
from openexpose.synth.outfit import INDEX, NAMES, Outfit, draw_outfit, hsv
from openexpose.synth.refine import refined


def test_refining_keeps_the_surface_closed_and_in_place() -> None:
    arrays = load_arrays("free")
    fine = refined(arrays, 0.02)
    V = len(arrays.v_template)
    assert np.array_equal(fine.v_template[:V], arrays.v_template) and len(fine.faces) > 1.3 * len(arrays.faces)
    assert np.allclose(fine.weights.sum(1), 1)

    def borders(faces: np.ndarray) -> int:
        """Edges that have not exactly two faces."""
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
        _, count = np.unique(edges, axis=0, return_counts=True)
        return int((count != 2).sum())

    assert borders(fine.faces) <= 2 * borders(arrays.faces)  # a border edge becomes two at most

    def volume(v: np.ndarray, f: np.ndarray) -> float:
        a, b, c = (v[f[:, k]] for k in range(3))
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)

    assert volume(fine.v_template, fine.faces) == pytest.approx(volume(arrays.v_template, arrays.faces), rel=0.02)
    with pytest.raises(ConfigError, match="positive"):
        refined(arrays, 0.0)


def test_the_surface_falls_into_its_pieces(mannequin: Mannequin) -> None:
    arrays = load_arrays("free")
    piece = pieces(arrays)
    assert set(piece.tolist()) == {SKIN, EYE, TEETH, TONGUE}
    assert np.abs(arrays.v_template[piece == EYE][:, 0]).min() > 0.005  # metres: no eye in the middle
    assert mannequin.eye_m[0, 0] == pytest.approx(-float(mannequin.eye_m[1, 0]), abs=1e-4)  # metres
    one = replace(arrays, faces=arrays.faces[(piece[arrays.faces] == SKIN).all(1)][:1])
    with pytest.raises(DataError, match="pieces"):
        pieces(replace(one, v_template=arrays.v_template[:3], faces=np.array([[0, 1, 2]]), weights=arrays.weights[:3]))


def test_fields_say_lip_brow_scalp(mannequin: Mannequin) -> None:
    at = mannequin.template.numpy()
    fields = mannequin.fields[: len(at)].numpy()

    def field_near(name: str, column: int) -> float:
        near = np.linalg.norm(at - mannequin.points_m[name], axis=1).argmin()
        return float(fields[near, column])

    assert field_near("mouth_bottom", 3) > -0.004 and field_near("nose", 3) < 0  # metres
    assert field_near("right_eyebrow_3", 4) > 0 and field_near("nose", 4) < 0
    top = at[:, 1].argmax()
    assert fields[top, 5] > 0.02 and field_near("nose", 5) < 0 and field_near("left_ear", 5) < 0.01
    assert field_near("contour_middle", 6) > 0 and field_near("left_eye_2", 6) < 0
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    assert inside_polygon(np.array([[0.5, 0.5], [1.5, 0.5]]), square).tolist() == [True, False]


def test_outfits_are_numbers_with_names() -> None:
    rows = np.stack([draw_outfit(np.random.default_rng(i)) for i in range(50)])
    assert rows.shape == (50, len(NAMES)) and np.isfinite(rows).all()
    o = Outfit(torch.tensor(rows))
    assert torch.equal(o["hem_y"], o.values[:, INDEX["hem_y"]])
    pixel = torch.tensor([3, 3, 7])
    assert torch.equal(o.at(pixel).colour("skin"), o.colour("skin")[pixel])
    colours = np.stack([rows[:, INDEX[f"skin_{c}"]] for c in "rgb"], 1)
    assert colours.min() > 0 and colours.max() <= 1 and (colours[:, 0] > colours[:, 2]).all()  # red above blue
    assert np.allclose(hsv(0.0, 1.0, 1.0), [1, 0, 0]) and np.allclose(hsv(1 / 3, 1.0, 0.5), [0, 0.5, 0])


def test_cloth_stands_off_the_skin_and_covers_where_it_should(mannequin: Mannequin) -> None:
    bare, dressed = (dict.fromkeys(NAMES, 0.0) for _ in range(2))
    dressed |= {"top": 1.0, "sleeve_x": 0.64, "hem_y": -0.4, "neck_r": 0.1, "top_loose": 0.02, "trousers": 1.0}
    dressed |= {"leg_y": -1.2, "waist_y": -0.28, "leg_loose": 0.02, "fold_size": 8.0}
    o = Outfit(torch.tensor([[p[n] for n in NAMES] for p in (bare, dressed)]))
    eye = torch.eye(3).expand(2, 55, 3, 3)
    people = mannequin.dress(torch.zeros(2, 10), torch.zeros(2, 50), eye, torch.zeros(2, 3), o)
    U = mannequin.body_vertices
    off_m = (people.vertices_m[1, :U] - mannequin.template).norm(dim=1)
    chest = ((mannequin.template[:, 1] + 0.15).abs() < 0.1) & (mannequin.template[:, 0].abs() < 0.1)
    head = mannequin.template[:, 1] > 0.22
    assert off_m[chest].median() > 0.015 and off_m[head].max() < 1e-5  # metres
    bare_off_m = (people.vertices_m[0, :U] - mannequin.template).norm(dim=1)
    assert bare_off_m.max() < 0.009  # metres: soles keep the little that shoes would add to
    c = cover(o.over(), mannequin.fields[None, :U], mannequin.noise)
    assert (c.top[1][chest] > 0).all() and (c.top[0] < 0).all() and (c.top[1][head] < 0).all()
    assert not people.shown[:, SKIRT].any() and not people.shown[:, HAIR].any()


def test_shape_and_pose_are_those_of_the_bare_model(mannequin: Mannequin, rng: np.random.Generator) -> None:
    betas = torch.tensor(rng.normal(size=(1, 10)), dtype=torch.float32)
    o = Outfit(torch.zeros(1, len(NAMES)))
    R = torch.eye(3).expand(1, 55, 3, 3)
    people = mannequin.dress(betas, torch.zeros(1, 50), R, torch.ones(1, 3), o)
    V = mannequin.bare.num_vertices
    off_m = (people.vertices_m[0, :V] - people.posed.skin().vertices_m[0]).norm(dim=1)
    assert off_m.max() < 0.009  # metres: the refined model is the same body


def test_batched_normals_agree_with_the_renderer(rng: np.random.Generator) -> None:
    v = rng.normal(size=(30, 3)).astype(np.float32)
    f = rng.integers(0, 30, (50, 3))
    got = normals_of(torch.tensor(v)[None], torch.tensor(f))[0].numpy()
    want = vertex_normals(v.astype(np.float64), f)
    used = np.unique(f[(f[:, 0] != f[:, 1]) & (f[:, 1] != f[:, 2]) & (f[:, 0] != f[:, 2])])
    assert np.abs(got[used] - want[used]).max() < 1e-4  # of unit vectors, float32


def test_noise_is_smooth_periodic_and_its_slope_is_its_derivative(rng: np.random.Generator) -> None:
    noise = Noise(torch.device("cpu"))
    p = torch.tensor(rng.uniform(-2, 2, (500, 3)), dtype=torch.float32)
    n = noise(p)
    assert torch.allclose(n, noise(p + torch.tensor([1.0, -2.0, 3.0])), atol=2e-3)  # float32 of the coordinates
    assert torch.allclose(n[:, 0], noise.value(p)) and 0.7 < float(n[:, 0].std()) < 1.1
    step = 0.5 / 48
    for k in range(3):
        d = torch.zeros(3)
        d[k] = step
        slope = (noise.value(p + d) - noise.value(p - d)) / (2 * step) / 48
        assert float(torch.corrcoef(torch.stack([slope, n[:, 1 + k]]))[0, 1]) > 0.9
    h = hashed(torch.tensor(3.0), torch.arange(10000), torch.arange(10000) * 7)
    assert float(h.min()) >= 0 and float(h.max()) < 1 and abs(float(h.mean()) - 0.5) < 0.02
