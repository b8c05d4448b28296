import os
from pathlib import Path

import numpy as np
import pytest

from openexpose.data.splits import body_packs, body_split, face_packs, face_split, lspet_validation, person_of
from openexpose.errors import DataError

DATA = Path(os.environ.get("OPENEXPOSE_PACKS", Path(__file__).resolve().parents[3] / "shared" / "data"))


def names(people, each):
    return [f"set/train/P_{p:03d}_{k}.jpg" for k in range(each) for p in range(people)]


def test_bodies_split_by_position():
    split = body_split(12, kept=3)
    assert split.train.tolist() == list(range(9)) and split.validation.tolist() == [9, 10, 11]
    with pytest.raises(DataError, match="cannot keep"):
        body_split(3, kept=3)


def test_nobody_is_on_both_sides_whatever_the_order():
    files = [*names(40, 5), "studio/004_03.jpg"]
    source = [0] * 200 + [1]
    split = face_split(source, files, kept=32)
    assert len(split.validation) == 32 and 200 in split.train
    people = {person_of(files[i]) for i in split.validation}
    assert len(people) == 7 and not people & {person_of(files[i]) for i in split.train if i != 200}
    assert len(split.train) == 201 - 7 * 5
    shuffled = np.random.default_rng(0).permutation(201)
    again = face_split([source[i] for i in shuffled], [files[i] for i in shuffled], kept=30)
    assert {files[shuffled[i]] for i in again.validation} < {files[i] for i in split.validation}


def test_a_person_is_the_name_before_the_number():
    assert person_of("udacity/data/test/Penelope_Ann_Miller_41.jpg") == "Penelope_Ann_Miller"


def test_too_few_faces_are_refused():
    with pytest.raises(DataError, match="is it the pack"):
        face_split([1, 0], ["a_1.jpg", "b_1.jpg"])


@pytest.mark.skipif(not (DATA / "faces_train.npz").exists(), reason="the packs are not here")
def test_the_packs_split_as_published():
    train, validation = face_packs(DATA / "faces_train.npz")
    assert (len(train), len(validation)) == (1530, 200) and not set(train.rows) & set(validation.rows)
    train, validation = body_packs(DATA / "lspet_train.npz")
    assert (len(train), len(validation)) == (4500, 500)
    numbers = np.load(DATA / "lspet_train.npz")["index"]
    assert sorted(numbers[-500:]) == lspet_validation().tolist()
