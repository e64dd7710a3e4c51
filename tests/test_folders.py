"""A folder is replaced whole or not at all, whenever its writer is killed; two writers do not meet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from collectml import folders
from collectml.errors import CollectMLError
from collectml.folders import exclusive, write_folder

OLD = {"a.txt": b"old a", "sub/b.txt": b"old b", "gone.txt": b"old only"}
NEW = {"a.txt": b"new a" * 1000, "sub/b.txt": b"new b"}

# kills itself at the k-th system call that changes the disk
WRITER = """
import os, signal, sys
from pathlib import Path
from collectml import folders
target, k, plain = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "plain"
left = [k]
def counted(call):
    def run(*args, **more):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)
    return run
if plain:
    folders._exchanged = lambda one, other: False
else:
    folders._exchanged = counted(folders._exchanged)
folders._force, folders._remove = counted(folders._force), counted(folders._remove)
Path.rename, Path.write_bytes = counted(Path.rename), counted(Path.write_bytes)
with folders.exclusive(target):
    folders.write_folder(target, {"a.txt": b"new a" * 1000, "sub/b.txt": b"new b"})
print("done")
"""


def _content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("way", ["exchange", "plain"])
def test_killed_at_any_step_the_old_or_the_new_stands(tmp_path, way):
    outcomes = []
    for k in range(40):
        target = tmp_path / str(k) / "out"
        write_folder(target, OLD)
        done = subprocess.run([sys.executable, "-c", WRITER, str(target), str(k), way], check=False, capture_output=True)
        finished = done.stdout == b"done\n"
        assert finished or done.returncode == -signal.SIGKILL, done.stderr
        if way == "exchange":  # at every moment, not only after the next writer has come
            assert _content(target) in (OLD, NEW)
        with exclusive(target):
            outcomes.append(_content(target))
            write_folder(target, NEW)
        assert _content(target) == NEW
        assert [p.name for p in target.parent.iterdir()] == ["out"], "nothing is left beside it"
        if finished:
            break
    assert finished
    assert outcomes[0] == OLD
    assert outcomes[-1] == NEW
    assert all(o in (OLD, NEW) for o in outcomes)
    assert len(outcomes) > 6, "it was killed at several steps"


def test_a_second_writer_is_told_and_the_first_goes_on(tmp_path):
    with exclusive(tmp_path / "out"):
        with pytest.raises(CollectMLError, match="another process is writing"), exclusive(tmp_path / "out"):
            pass
        with exclusive(tmp_path / "other"):
            pass
    with exclusive(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    holder = "import os, signal, sys; from collectml.folders import exclusive\nwith exclusive(sys.argv[1]): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", holder, tmp_path / "out"], check=False).returncode == -signal.SIGKILL
    with exclusive(tmp_path / "out"):
        write_folder(tmp_path / "out", NEW)
    assert _content(tmp_path / "out") == NEW


def test_a_full_disk_leaves_the_old_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / "out", OLD)

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_folder(tmp_path / "out", NEW)
    assert _content(tmp_path / "out") == OLD
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_neighbour_with_a_longer_name_keeps_its_work(tmp_path):
    staging = tmp_path / ".out.x.new-abcdefgh"
    staging.mkdir()
    with exclusive(tmp_path / "out"):
        pass
    assert staging.is_dir()
    with exclusive(tmp_path / "out.x"):
        pass
    assert not staging.exists()


def test_moves_files_in_and_makes_folders_others_may_read(tmp_path):
    (tmp_path / "big.bin").write_bytes(b"x")
    write_folder(tmp_path / "out", {"big.bin": tmp_path / "big.bin"})
    assert _content(tmp_path / "out") == {"big.bin": b"x"}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert folders.__all__ == ["exclusive", "staging", "write_file", "write_folder"]
