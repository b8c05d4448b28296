import pytest

from openexpose.data.convert.common import Options
from openexpose.data.convert.run import convert
from openexpose.data.humandata import HumanData
from tests.raw_trees.people import person


@pytest.fixture(scope="session")
def people():
    """Three people with known parameters; their photos are blank, which is quick."""
    return [person(i, drawn=False) for i in range(3)]


@pytest.fixture
def converted(tmp_path):
    """Convert a tree into `tmp_path / "out"` in this process; the outcome of its one output, and the file opened."""

    def run(name, root, *, strict=False, **options):
        (outcome,) = convert(name, Options(root, **options), tmp_path / "out", strict=strict)
        return outcome, None if outcome.path is None else HumanData.open(outcome.path)

    return run
