"""What every test shares: marked tests skip where their need is not met, with the reason."""

import os
import socket

import pytest
import torch
from hypothesis import settings

settings.register_profile("calm", deadline=None)  # these machines are noisy: times say nothing about tests
settings.load_profile("calm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu, net or assets run only where there is one."""
    missing = {
        "gpu": None if torch.cuda.is_available() else "no CUDA device",
        "net": None if os.environ.get("OPENEXPOSE_TEST_NET") else "set OPENEXPOSE_TEST_NET=1 to allow network tests",
        "assets": None if os.environ.get("OPENEXPOSE_DATA") else "OPENEXPOSE_DATA names no data tree",
    }
    for item in items:
        for mark, reason in missing.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is not marked `net` cannot reach another machine."""
    if request.node.get_closest_marker("net"):
        return
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in ("127.0.0.1", "::1", "localhost", ""):
            raise AssertionError(f"a test without the mark `net` tried to reach {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
