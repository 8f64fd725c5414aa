"""One contract for all places where the files of trials may lie."""

from __future__ import annotations

import os
import pickle
import signal
import string
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.store import Store, open_store
from spaces.document import StudyError
from spaces.files import DRAFT

ROOT = Path(__file__).parents[2]


class Shelf(DirFileSystem):
    """A file system as others write them: it remembers what it has listed, and moves by renaming."""

    protocol = "shelf"
    root: ClassVar[Path]

    def __init__(self, **more: Any) -> None:
        super().__init__(path=str(self.root), fs=LocalFileSystem())
        self.listed: dict[str, Any] = {}

    def ls(self, path: str, detail: bool = True, **more: Any) -> Any:
        if path not in self.listed:
            self.listed[path] = super().ls(path, detail=True)
        return self.listed[path] if detail else [entry["name"] for entry in self.listed[path]]

    def find(self, *given: Any, **more: Any) -> Any:
        return fsspec.AbstractFileSystem.find(self, *given, **more)  # by `walk`

    def walk(self, *given: Any, **more: Any) -> Any:
        return fsspec.AbstractFileSystem.walk(self, *given, **more)  # by `ls`

    def invalidate_cache(self, path: str | None = None) -> None:
        self.listed.clear()


fsspec.register_implementation("shelf", Shelf, clobber=True)
PLACES = ["path", "text", "file", "memory", "shelf", "shelf root"]


@pytest.fixture(params=PLACES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | Path]:
    Shelf.root = tmp_path
    Shelf.clear_instance_cache()
    place = tmp_path / "run" / "trials"
    name = uuid.uuid4().hex
    yield {
        "path": place,
        "text": str(place),
        "file": place.as_uri(),
        "memory": f"memory://{name}/run/trials",
        "shelf": "shelf://run/trials",
        "shelf root": "shelf://",
    }[request.param]
    Shelf.clear_instance_cache()
    memory = fsspec.filesystem("memory")
    if memory.exists(f"/{name}"):
        memory.rm(f"/{name}", recursive=True)


@pytest.fixture
def store(where: str | Path) -> Store:
    return open_store(where)


class TestEveryStore:
    def test_what_is_written_is_read(self, store: Store) -> None:
        for content in (b"old" * 1000, b"", bytes(range(256)) * 99):
            store.write("t0003/rung-000009.json", content)
            assert store.read("t0003/rung-000009.json") == content
        store.write("top", b"x")
        assert store.read("top") == b"x"

    def test_names_are_those_of_the_files_in_a_folder(self, store: Store) -> None:
        assert store.names("") == store.names("t1") == []
        for name in ("t1/b", "t1/a", "t1/c.json", "t1/deep/d", "t10/e", "f"):
            store.write(name, b"1")
        assert store.names("t1") == ["a", "b", "c.json"]
        assert store.names("t1/deep") == ["d"]
        assert store.names("t10") == ["e"]
        assert store.names("") == ["f"]
        assert store.names("t2") == store.names("t") == store.names("t1/a") == []
        store.write("t1/aa", b"1")
        store.remove("t1/b")
        assert store.names("t1") == ["a", "aa", "c.json"]

    def test_what_is_missing_is_told(self, store: Store) -> None:
        store.write("t1/a", b"1")
        for name in ("t1/b", "t2/a", "a"):
            with pytest.raises(FileNotFoundError):
                store.read(name)
            store.remove(name)
        store.remove("t1/a")
        store.remove("t1/a")
        with pytest.raises(FileNotFoundError):
            store.read("t1/a")

    def test_the_size_is_that_of_all_files(self, store: Store) -> None:
        assert store.bytes() == store.bytes("t1") == 0
        store.write("t1/a", b"1" * 100)
        store.write("t1/deep/b", b"1" * 20)
        store.write("t10/c", b"1" * 3)
        assert (store.bytes(), store.bytes("t1"), store.bytes("t1/deep")) == (123, 120, 20)
        store.write("t1/a", b"")
        store.remove("t1/deep/b")
        assert (store.bytes(), store.bytes("t1"), store.bytes("t2")) == (3, 0, 0)

    def test_another_store_at_the_same_place_sees_the_same(self, store: Store, where: str | Path) -> None:
        sent = pickle.loads(pickle.dumps(store))
        other = open_store(where)
        assert sent == other == store
        assert len(pickle.dumps(store)) < 500
        assert sent.names("t1") == []
        store.write("t1/a", b"1")
        assert sent.read("t1/a") == other.read("t1/a") == b"1"
        assert sent.names("t1") == other.names("t1") == ["a"]
        assert other.bytes() == 1

    def test_a_sweep_leaves_what_is_whole(self, store: Store) -> None:
        store.sweep()
        store.write("t1/a", b"1")
        store.write("b", b"1")
        store.sweep()
        assert (store.names("t1"), store.names("")) == (["a"], ["b"])

    @pytest.mark.parametrize("folder", ["", "t1/"])
    def test_names_cannot_leave_it(self, store: Store, tmp_path: Path, folder: str) -> None:
        store.write("t1/a", b"1")
        (tmp_path / "secret").write_bytes(b"2")
        before = sorted(tmp_path.rglob("*"))
        bad = ["..", "../secret", "../../secret", ".", "./a", "a/..", "a//b", "a/", "/", "/etc/passwd", str(tmp_path)]
        bad += ["a\0", "\0", "a\n", "a\nb", "a b", "~", "~root/x", "c:\\x", "..\\x", "*", "a?", "[a]", "s3://b", "a::b"]
        bad += ["\uff0e\uff0e/secret", "\u2024\u2024/secret", "%2e%2e/secret", "é", ".hidden", "a" * 10_000, "-" * 201]
        for name in bad:
            for use in (store.read, store.names, store.remove, store.bytes, lambda name: store.write(name, b"3")):
                with pytest.raises(ValueError, match="a store has no file"):
                    use(folder + name)
        for use in (store.read, store.remove, lambda name: store.write(name, b"3")):
            with pytest.raises(ValueError, match="a store has no file"):
                use("")
        with pytest.raises(ValueError, match="a store has no file"):
            store.write(f"{folder}a{DRAFT}", b"3")
        assert sorted(tmp_path.rglob("*")) == before


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.lists(st.text("./a\\~:\0 -_é*", max_size=5) | st.text(max_size=5), min_size=1, max_size=4).map("/".join))
def test_a_name_is_refused_or_lies_in_the_store_under_this_very_name(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path / "around" / "store")
    try:
        store.write(name, b"1")
    except (ValueError, OSError):  # a file stands where a folder should
        pass
    else:
        inside = [
            str(path.relative_to(tmp_path / "around" / "store")) for path in tmp_path.rglob("*") if path.is_file()
        ]
        assert inside == [name]
        assert set(name) <= set(string.ascii_letters + string.digits + "._-/")
        store.remove(name)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("place", ["path", "shelf"])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "interrupt"]
)
def test_what_fails_before_the_draft_is_renamed_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    Shelf.root = tmp_path
    Shelf.clear_instance_cache()
    store = open_store(tmp_path if place == "path" else "shelf://")
    store.write("t1/a", b"old")

    def fail(*given: object, **more: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(*((os, "replace") if place == "path" else (Shelf, "mv")), fail)
        with pytest.raises(type(error)):
            store.write("t1/a", b"new")
    assert os.listdir(tmp_path / "t1") == ["a"]
    assert store.read("t1/a") == b"old"
    store.write("t1/a", b"new")
    assert store.read("t1/a") == b"new"


KILLED = """\
import os, pathlib, signal, sys
sys.path.insert(0, "tests/search")
import test_store
from search.store import open_store

test_store.Shelf.root = pathlib.Path(sys.argv[2])
die = lambda *given, **more: os.kill(os.getpid(), signal.SIGKILL)
os.replace = test_store.Shelf.mv = die
open_store(sys.argv[1]).write("t1/a", b"new")
"""


@pytest.mark.parametrize("place", ["path", "shelf"])
def test_a_killed_writer_leaves_the_old_file_and_a_draft_that_is_swept(tmp_path: Path, place: str) -> None:
    Shelf.root = tmp_path
    Shelf.clear_instance_cache()
    where = str(tmp_path) if place == "path" else "shelf://"
    store = open_store(where)
    store.write("t1/a", b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, where, tmp_path], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(os.listdir(tmp_path / "t1")) == 2
    assert store.names("t1") == ["a"]
    assert store.read("t1/a") == b"old"
    (tmp_path / "t1" / f"old.json{DRAFT}").write_bytes(b"of another version")
    store.sweep()
    assert os.listdir(tmp_path / "t1") == ["a"]
    assert store.read("t1/a") == b"old"


def test_a_file_in_memory_appears_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    store, memory = open_store(f"memory://{uuid.uuid4().hex}"), type(fsspec.filesystem("memory"))
    store.write("a", b"old")

    def fail(*given: object, **more: object) -> None:
        raise AssertionError("an object is not moved")

    monkeypatch.setattr(memory, "mv", fail)
    store.write("a", b"new")
    assert store.read("a") == b"new"


def test_whatever_a_client_raises_is_an_oserror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable(Exception):
        pass

    def fail(*given: object, **more: object) -> None:
        raise Unreachable("no\nroute")

    Shelf.root = tmp_path
    Shelf.clear_instance_cache()
    store = open_store("shelf://x")
    for name in ("pipe_file", "cat_file", "ls", "find", "rm_file"):
        monkeypatch.setattr(Shelf, name, fail)
    for use in (store.read, store.names, store.remove, store.bytes, lambda name: store.write(name, b"1")):
        with pytest.raises(OSError, match=r"^shelf://x: Unreachable: no route$"):
            use("a")


def test_a_protocol_that_is_unknown_is_told_with_the_nearest() -> None:
    with pytest.raises(StudyError) as caught:
        open_store("memry://x")
    first, allowed, near = str(caught.value).splitlines()
    assert first == "memry://x: there is no protocol 'memry'"
    assert "memory" in allowed
    assert near == "  did you mean 'memory'?"


@pytest.mark.parametrize("url", ["nowhere://bucket/x", "simplecache::nowhere://bucket/x"])
def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    entry = {"class": "no_such_package.Files", "err": "Install no_such_package to reach nowhere"}
    monkeypatch.setitem(known_implementations, "nowhere", entry)
    with pytest.raises(StudyError) as caught:
        open_store(url)
    assert str(caught.value) == f"{url}: a package is missing for 'nowhere': {entry['err']}"


def test_a_relative_path_is_one_wherever_the_store_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stores = [open_store("trials"), open_store(Path("trials")), open_store("file://trials")]
    monkeypatch.chdir("/")
    for store in stores:
        store.write("a", b"1")
    assert os.listdir(tmp_path / "trials") == ["a"]
    assert stores == [open_store(tmp_path / "trials")] * 3
