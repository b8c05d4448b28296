"""Names of photos in annotation files: none leads out of its folder."""

import pytest

from openexpose.data.convert.foreign import photo_name
from openexpose.errors import DataError


@pytest.mark.parametrize(
    "name", ["", "../a.jpg", "/etc/passwd", "a/../../b.jpg", "C:/a.jpg", "a\\b.jpg", 3, None, "a\0b"]
)
def test_photos_outside_their_folder_are_refused(name: object) -> None:
    with pytest.raises(DataError, match="file"):
        photo_name(name, "file")


def test_names_of_photos() -> None:
    assert photo_name("a/b c.jpg", "file") == "a/b c.jpg" and photo_name(b"a.jpg", "file") == "a.jpg"
