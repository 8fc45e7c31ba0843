from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from client_app.warm import address as addresses
from client_app.warm.address import ROOT, StrangerError, address, connected, fingerprint, listening


def test_the_socket_is_its_users_alone(tmp_path: Path) -> None:
    place = address(tmp_path / "private", 5, "a:app")
    with listening(place.path):
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(place.path.stat().st_mode) == 0o600


def test_sites_and_versions_have_addresses_of_their_own(tmp_path: Path) -> None:
    places = [address(tmp_path, node, ref) for node in (5, 6) for ref in ("a:app", "b:app")]
    assert len({place.path for place in places}) == 4
    assert address(tmp_path, 5, "a:app") == places[0]
    for place in places:
        place.path.touch()
    assert places[0].others() == [places[1].path]


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "warm").mkdir(mode=0o755)
    (tmp_path / "warm").chmod(0o755)
    with pytest.raises(StrangerError, match="alone"):
        address(tmp_path, 5, "a:app")


def test_a_link_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "warm").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StrangerError, match="alone"):
        address(tmp_path, 5, "a:app")


def test_a_path_may_be_longer_than_a_sockets(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with listening(folder / "s.sock") as listener, connected(folder / "s.sock") as connection:
        other, _ = listener.accept()
        with other:
            connection.sendall(b"1")
            assert other.recv(1) == b"1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_users_process_is_told_apart(tmp_path: Path) -> None:
    with listening(tmp_path / "s.sock") as listener:
        tmp_path.chmod(0o755)  # as if the folder did not keep others out
        (tmp_path / "s.sock").chmod(0o666)
        script = (
            "import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.setuid(65534);"
            "s.connect(sys.argv[1]); s.recv(1)"
        )
        stranger = subprocess.Popen([sys.executable, "-c", script, "s.sock"], cwd=tmp_path)
        listener.settimeout(20)
        other, _ = listener.accept()
        with other, pytest.raises(StrangerError, match="another user"):
            addresses.check_peer(other)
        assert stranger.wait(20) == 0


def test_nobody_listens_at_a_stale_socket(tmp_path: Path) -> None:
    listening(tmp_path / "s.sock").close()
    with pytest.raises(ConnectionRefusedError):
        connected(tmp_path / "s.sock")
    with pytest.raises(OSError, match="in use"):
        listening(tmp_path / "s.sock")


def test_a_change_of_the_source_is_another_version(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(ROOT / "client_app" / "warm", app / "client_app" / "warm")
    before = fingerprint(app)
    assert fingerprint(app) == before
    with (app / "client_app" / "warm" / "worker.py").open("a") as file:
        file.write("# changed\n")
    assert fingerprint(app) != before


def test_a_socket_pair_of_ones_own_is_accepted() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        addresses.check_peer(ours)
