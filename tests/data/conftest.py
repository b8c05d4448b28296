import pytest

from tests.data.toys import ToyStore


@pytest.fixture
def toy():
    return ToyStore()
