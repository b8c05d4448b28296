"""Colours of skin and eyes."""

import numpy as np

from openexpose.body import BodyModel, load_model
from openexpose.export.paint import EYE_WHITE, IRIS, PUPIL, paint
from openexpose.render.scene import SKIN
from toy_models import toy_mano


def test_freebody_has_two_equal_eyes_that_look_ahead() -> None:
    model = load_model("free")
    got = paint(model)
    faces, vertices = model.faces.numpy(), model.shape().rest_vertices_m.numpy()
    middles = vertices[faces].mean(axis=1)
    for colour in (EYE_WHITE, IRIS, PUPIL):
        own = (got.face_colours == colour).all(axis=1)
        left, right = own & (middles[:, 0] > 0), own & (middles[:, 0] < 0)
        assert left.sum() == right.sum() > 0
    pupil = middles[(got.face_colours == PUPIL).all(axis=1)]
    white = middles[(got.face_colours == EYE_WHITE).all(axis=1)]
    assert pupil[:, 2].min() > np.quantile(white[:, 2], 0.9)  # in front
    assert (got.face_colours == SKIN.colour).all(axis=1).mean() > 0.95
    assert (got.vertex_colours == PUPIL).all(axis=1).any()


def test_a_hand_is_all_skin() -> None:
    got = paint(BodyModel(toy_mano(1)), skin=(0.1, 0.2, 0.3))
    assert (got.face_colours == (0.1, 0.2, 0.3)).all()
    assert (got.vertex_colours == (0.1, 0.2, 0.3)).all()
