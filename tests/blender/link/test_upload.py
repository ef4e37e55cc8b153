"""A file of the artist's machine gets to a backend that does not see its disk."""

from functools import partial

import conftest
import pytest

pump = partial(conftest.pump, seconds=20.0)


@pytest.fixture
def client(package, backend):
    from blender_addon import access
    from blender_addon.link.client import Client
    from blender_addon.link.types import Address, State

    found = access.read_server_file(backend.state)
    made = Client(lambda: Address(found.endpoint, found.token, found.server_key, found.keys), "test")
    made.start()
    pump(made, lambda: made.status.state is State.READY)
    yield made
    made.stop()


def test_a_file_arrives_whole(client, backend, tmp_path):
    from blender_addon.link.upload import Upload

    path = tmp_path / "ball 球.ply"
    path.write_bytes(bytes(range(256)) * 5000)
    names, failures = [], []
    upload = Upload(client, path, names.append, failures.append)
    upload.begin()
    pump(client, lambda: names or failures)
    assert not failures and upload.done == upload.total == path.stat().st_size
    assert names[0].endswith("/ball 球.ply")
    assert (backend.root / names[0]).read_bytes() == path.read_bytes()
    again = Upload(client, path, names.append, failures.append, folder="takes")
    again.begin()
    pump(client, lambda: len(names) == 2 or failures)
    assert names[1].endswith("/takes/ball 球.ply")


def test_what_cannot_be_sent_is_a_sentence(client, tmp_path):
    from blender_addon.link.upload import Upload

    failures = []
    (tmp_path / "empty").touch()
    for name in ("none", "empty"):
        Upload(client, tmp_path / name, pytest.fail, failures.append).begin()
        pump(client, lambda: failures)
        failure = failures.pop()
        assert failure.sentence.endswith(".") and failure.code in ("local", "body")
