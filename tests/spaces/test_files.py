"""Files are there whole or not at all: on full disks, under limits, among several writers, after kills."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from spaces.files import DRAFT, draft_name, write_whole

ROOT = Path(__file__).parents[2]


def python(script: str, *arguments: str | Path, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-c", script, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def told(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    return out


def test_a_file_is_written_and_replaced_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    for content in (b"old" * 100, b"", b"new"):
        write_whole(path, content)
        assert path.read_bytes() == content
        assert os.listdir(path.parent) == ["c"]


def test_every_new_name_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = [], os.fsync

    def noted(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    write_whole(tmp_path / "a" / "b" / "c", b"new")
    *folders, draft, last = synced
    assert folders == [str(tmp_path), str(tmp_path / "a")]
    assert draft.startswith(str(tmp_path / "a" / "b" / "c."))
    assert last == str(tmp_path / "a" / "b")


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o002])
def test_the_mode_is_what_umask_says(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "f", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o666 & ~mask


def test_drafts_have_names_of_their_own() -> None:
    names = {draft_name("f") for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(f"f.{os.getpid()}-") and name.endswith(DRAFT) for name in names)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()], ids=["io", "interrupt"])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_fails_midway_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    write_whole(tmp_path / "f", b"old")

    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_whole(tmp_path / "f", b"new")
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


# The folder, which holds nothing yet, has room for 65,536 bytes; a file may have as many.
FULL = """\
import errno, os, pathlib, resource, subprocess, sys
from spaces.files import write_whole

folder, how = pathlib.Path(sys.argv[1]), sys.argv[2]
if how == "tmpfs":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
path = folder / "f"
write_whole(path, b"old" * 10_000)
for size in (50_000, 60_000, 10_000_000) if how == "tmpfs" else (70_000, 10_000_000):
    try:
        write_whole(path, b"n" * size)
    except OSError as error:
        assert error.errno in (errno.ENOSPC, errno.EFBIG), error
    else:
        raise AssertionError(f"{size} bytes found room")
    assert os.listdir(folder) == ["f"], os.listdir(folder)
    assert path.read_bytes() == b"old" * 10_000
write_whole(path, b"new")
assert path.read_bytes() == b"new"
print("done")
"""


def with_mounts() -> tuple[str, ...]:
    """What comes before a command that may mount; its mounts end with it."""
    for before in (("unshare", "-m"), ("unshare", "-rm")):
        command = [*before, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        try:
            if subprocess.run(command, capture_output=True, timeout=10).returncode == 0:
                return before
        except (OSError, subprocess.TimeoutExpired):
            continue
    pytest.skip("nothing can be mounted here")


@pytest.mark.parametrize("how", ["tmpfs", "limit"])
def test_a_full_disk_leaves_the_old_file_and_no_draft(tmp_path: Path, how: str) -> None:
    before = with_mounts() if how == "tmpfs" else ()
    assert told(python(FULL, tmp_path, how, before=before)) == "done\n"
    assert os.listdir(tmp_path) == ([] if how == "tmpfs" else ["f"])


WRITER = """\
import pathlib, sys, zlib
from spaces.files import write_whole

for number in range(200):
    body = sys.argv[2].encode() * (1 + number * 1009 % 5000)
    write_whole(pathlib.Path(sys.argv[1]), zlib.crc32(body).to_bytes(4, "big") + body)
"""


def whole(content: bytes) -> bool:
    return content[:4] == zlib.crc32(content[4:]).to_bytes(4, "big") and len(set(content[4:])) == 1


def test_of_two_writers_at_once_each_reader_sees_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_whole(path, zlib.crc32(b"x").to_bytes(4, "big") + b"x")
    writers = [python(WRITER, path, sign) for sign in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        content = path.read_bytes()
        assert whole(content)
        seen.add(content)
    for writer in writers:
        told(writer)
    assert whole(path.read_bytes())
    assert len(seen) > 2
    assert os.listdir(tmp_path) == ["f"]


KILLED = """\
import os, pathlib, signal, sys
from spaces.files import write_whole

os.%s = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
write_whole(pathlib.Path(sys.argv[1]), b"new" * 10_000)
"""


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_killed_writer_leaves_the_old_file_and_hinders_nobody(tmp_path: Path, step: str) -> None:
    path = tmp_path / "f"
    write_whole(path, b"old")
    process = python(KILLED % step, path)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert [name.endswith(DRAFT) for name in sorted(os.listdir(tmp_path))] == [False, True]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
