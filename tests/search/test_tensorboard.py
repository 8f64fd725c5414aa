"""Event files against TensorBoard's own readers, and the pages against its own server."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams import metadata

from objectives.probes import METRICS
from search.compare.tensorboard import EventFiles, serve
from search.folder import Folder
from search.ledger import History, Ledger, read
from search.run import load_study, start
from spaces.document import StudyError

KNOBS = [
    {"name": "method", "kind": "choice", "options": ["simclr", "mae"]},
    {"name": "method.simclr.temperature", "kind": "log", "low": 0.05, "high": 1.0},
    {"name": "method.mae.shuffled", "kind": "choice", "options": [False, True]},
    {"name": "augmentation.crop.scale", "kind": "uniform", "low": 0.2, "high": 1.0},
    {"name": "architecture", "kind": "choice", "options": ["resnet", "vit", "mlp"]},
    {"name": "architecture[vit|mlp]", "kind": "choice", "options": ["vit", "mlp"]},
    {"name": "architecture.resnet.depth", "kind": "int", "low": 1, "high": 4, "log": False},
    {"name": "optimizer.batch", "kind": "choice", "options": [128, 256]},
]
STUDY = {
    "event": "study",
    "schema": 1,
    "name": "shapes",
    "metric": "knn_accuracy",
    "mode": "max",
    "seed": 0,
    "rungs": [1, 3, 9],
    "trials": 4,
    "switches": ["method", "architecture"],
    "knobs": KNOBS,
    "scores": {name: name not in ("rankme", "uniformity") for name in METRICS},
    "study": {"name": "shapes"},
}
SIMCLR = {
    "method": {"simclr": {"temperature": 0.25, "hidden": 64}},
    "augmentation": {"crop": {"scale": 0.5}},
    "architecture": {"resnet": {"depth": 2}},
    "optimizer": {"batch": 128, "lr": 0.01},
}
MAE = {
    "method": {"mae": {"shuffled": True}},
    "augmentation": {"crop": {"scale": 0.75}},
    "architecture": {"vit": {}},
    "optimizer": {"batch": 256, "lr": 0.01},
}


def asked(number: int, config: dict[str, Any]) -> dict[str, Any]:
    return {"event": "asked", "id": f"t{number:04d}", "number": number, "config": config, "seed": 5, "until": 1}


def rung(number: int, epoch: int, accuracy: float, seconds: float = 1.5) -> dict[str, Any]:
    metrics = {"loss": 2.5, "invariance": 0.5, "knn_accuracy": accuracy, "rankme": 7.0}
    metrics |= {"test_knn_accuracy": accuracy - 0.125, "parameters": 1000.0, "probe_seconds": 0.25}
    return {"event": "rung", "id": f"t{number:04d}", "epoch": epoch, "metrics": metrics, "seconds": seconds}


def promoted(number: int, until: int) -> dict[str, Any]:
    return {"event": "promoted", "id": f"t{number:04d}", "until": until}


FLOORS = {"raw": {"knn_accuracy": 0.5, "test_knn_accuracy": 0.25}, "untrained": {"knn_accuracy": 0.375}}
COMPLETE, STOPPED, FAILED, RUNNING = "t0000", "t0001", "t0002", "t0003"
EVENTS = [
    STUDY,
    asked(0, SIMCLR),
    {"event": "floors", "floors": FLOORS, "reason": ""},
    asked(1, MAE),
    rung(0, 1, 0.625),
    asked(2, MAE),
    rung(1, 1, 0.5),
    promoted(0, 3),
    {"event": "failed", "id": "t0002", "reason": "diverged"},
    rung(0, 3, 0.75),
    promoted(0, 9),
    rung(0, 9, 0.875, 3.0),
]
FINISHED = {"event": "finished"}


def written(root: Path, events: list[dict[str, Any]]) -> tuple[EventFiles, Ledger]:
    """A run in which every event was recorded and observed, as a sweep does it."""
    root.mkdir(parents=True)
    files, ledger = EventFiles(Folder(root)), Ledger.begun(root / "ledger.jsonl", events[0])
    files(events[0], ledger.history)
    for event in events[1:]:
        ledger.append(event)
        files(event, ledger.history)
    return files, ledger


def content(root: Path) -> dict[str, bytes]:
    """Every file of the run's TensorBoard folder."""
    top = root / "tensorboard"
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def replayed(history: History, root: Path) -> dict[str, bytes]:
    """What a rebuild from nothing writes."""
    EventFiles(Folder(root)).rebuild(history)
    found = content(root)
    shutil.rmtree(root)
    return found


def event_file(root: Path, name: str) -> Path:
    (path,) = (root / "tensorboard" / name).iterdir()
    return path


def curves(root: Path, name: str) -> dict[str, list[tuple[int, float]]]:
    """The scalars of a run of TensorBoard: tag to (step, value)."""
    found = EventAccumulator(str(root / "tensorboard" / name)).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def ending(path: Path) -> str:
    """How a trial's file says that it ended; empty where it does not."""
    for record in LegacyEventFileLoader(str(path)).Load():
        for value in record.summary.value:
            if value.tag == metadata.SESSION_END_INFO_TAG:
                info = metadata.parse_session_end_info_plugin_data(value.metadata.plugin_data.content)
                return {1: "success", 2: "failure"}[info.status]
    return ""


def test_scalars_stand_under_their_groups_at_their_epochs(tmp_path: Path) -> None:
    written(tmp_path / "run", EVENTS)
    found = curves(tmp_path / "run", COMPLETE)
    accuracies = [(1, 0.625), (3, 0.75), (9, 0.875)]
    assert found["probe/knn_accuracy"] == found["goal/knn_accuracy"] == accuracies
    assert found["test/knn_accuracy"] == found["goal/test_knn_accuracy"] == [(e, v - 0.125) for e, v in accuracies]
    assert found["probe/rankme"] == [(1, 7.0), (3, 7.0), (9, 7.0)]
    assert found["train/loss"][0] == (1, 2.5)
    assert found["train/invariance"][0] == (1, 0.5)
    assert found["usage/seconds"] == [(1, 1.5), (3, 3.0), (9, 6.0)]
    assert found["usage/epoch"] == [(1, 1.0), (3, 3.0), (9, 9.0)]
    assert found["usage/parameters"][0] == (1, 1000.0)
    assert len(found) == 11  # and the seconds of the probe


def test_floors_are_level_lines_from_the_first_rung_to_the_last(tmp_path: Path) -> None:
    written(tmp_path / "run", EVENTS)
    raw = curves(tmp_path / "run", "floor-raw")
    assert raw["goal/knn_accuracy"] == raw["probe/knn_accuracy"] == [(1, 0.5), (9, 0.5)]
    assert raw["test/knn_accuracy"] == [(1, 0.25), (9, 0.25)]
    assert curves(tmp_path / "run", "floor-untrained")["goal/knn_accuracy"] == [(1, 0.375), (9, 0.375)]


def test_a_floor_is_a_line_even_where_there_is_one_rung(tmp_path: Path) -> None:
    written(tmp_path / "run", [{**STUDY, "rungs": [9]}, EVENTS[2]])
    assert curves(tmp_path / "run", "floor-raw")["goal/knn_accuracy"] == [(0, 0.5), (9, 0.5)]


def test_a_trial_ends_as_it_ended(tmp_path: Path) -> None:
    root = tmp_path / "run"
    written(root, [*EVENTS, asked(3, SIMCLR)])
    assert ending(event_file(root, COMPLETE)) == "success"
    assert ending(event_file(root, FAILED)) == "failure"
    assert ending(event_file(root, STOPPED)) == ""  # it pauses at a rung, and may go on
    assert ending(event_file(root, RUNNING)) == ""
    shutil.rmtree(root)
    written(root, [*EVENTS, FINISHED])
    assert ending(event_file(root, STOPPED)) == "success"


def test_one_event_file_a_trial(tmp_path: Path) -> None:
    files, ledger = written(tmp_path / "run", [*EVENTS, FINISHED])
    files.rebuild(ledger.history)
    names = ["floor-raw", "floor-untrained", "study", COMPLETE, STOPPED, FAILED]
    assert sorted(content(tmp_path / "run")) == [f"{name}/events.out.tfevents.0000000000.{name}" for name in names]


def test_a_replay_gives_the_same_bytes_after_every_event(tmp_path: Path) -> None:
    root = tmp_path / "run"
    files, ledger = written(root, EVENTS[:1])
    for event in [*EVENTS[1:], FINISHED, promoted(1, 3), rung(1, 3, 0.25), asked(3, MAE), rung(3, 1, 0.5), FINISHED]:
        ledger.append(event)
        files(event, ledger.history)
        assert content(root) == replayed(read(root / "ledger.jsonl")[0], tmp_path / "replayed"), event


@pytest.mark.parametrize("lost", [(0, 1), (0, 3), (1, 1), (2, 1)])
def test_a_rung_that_is_found_again_stands_in_its_place(tmp_path: Path, lost: tuple[int, int]) -> None:
    found = rung(*lost, 0.25)
    events = [event for event in EVENTS if (event.get("id"), event.get("epoch")) != (found["id"], found["epoch"])]
    files, ledger = written(tmp_path / "run", events)
    ledger.append(found)
    files(found, ledger.history)
    assert content(tmp_path / "run") == replayed(ledger.history, tmp_path / "replayed")


def test_a_finished_run_that_goes_on_is_open_again(tmp_path: Path) -> None:
    root = tmp_path / "run"
    _, ledger = written(root, [*EVENTS, FINISHED])
    files = EventFiles(Folder(root))  # of a new process
    files.rebuild(ledger.history)
    assert ending(event_file(root, STOPPED)) == "success"
    for event in (promoted(1, 3), rung(1, 3, 0.25)):
        ledger.append(event)
        files(event, ledger.history)
        assert ending(event_file(root, STOPPED)) == ""
    assert curves(root, STOPPED)["goal/knn_accuracy"] == [(1, 0.5), (3, 0.25)]


def test_a_file_torn_anywhere_is_made_whole_in_place(tmp_path: Path) -> None:
    root = tmp_path / "run"
    files, ledger = written(root, EVENTS)
    whole, path = content(root), event_file(root, COMPLETE)
    size, inode = path.stat().st_size, path.stat().st_ino
    for length in [0, 1, 11, *range(12, size, 37), size - 1]:
        with open(path, "r+b") as file:
            file.truncate(length)
        files.rebuild(ledger.history)
        assert content(root) == whole
    assert path.stat().st_ino == inode  # a TensorBoard that has it open goes on reading


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    root = tmp_path / "run"
    written(root, EVENTS)
    whole, inode = content(root), event_file(root, COMPLETE).stat().st_ino
    code = "import sys; from pathlib import Path; from search.folder import Folder; from search.ledger import read; "
    code += "from search.compare.tensorboard import EventFiles; folder = Folder(Path(sys.argv[1])); "
    code += "EventFiles(folder).rebuild(read(folder.ledger)[0])"
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)
    assert content(root) == whole
    assert event_file(root, COMPLETE).stat().st_ino == inode


@pytest.mark.parametrize("damage", [b"garbage", b"\0" * 4000], ids=["text", "zeros"])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: bytes) -> None:
    root = tmp_path / "run"
    files, ledger = written(root, EVENTS)
    whole = content(root)
    event_file(root, STOPPED).write_bytes(damage)
    files.rebuild(ledger.history)
    assert content(root) == whole


def test_event_files_that_the_ledger_knows_nothing_of_go(tmp_path: Path) -> None:
    root = tmp_path / "run"
    files, ledger = written(root, EVENTS)
    whole = content(root)
    (root / "tensorboard" / COMPLETE / "events.out.tfevents.1.other").write_bytes(b"")
    files.rebuild(ledger.history)
    assert content(root) == whole


def test_a_folder_tidied_away_comes_back(tmp_path: Path) -> None:
    root = tmp_path / "run"
    files, ledger = written(root, EVENTS[:-1])
    shutil.rmtree(root / "tensorboard")
    ledger.append(EVENTS[-1])
    files(EVENTS[-1], ledger.history)
    assert content(root) == replayed(ledger.history, tmp_path / "replayed")


def test_a_full_disk_is_one_message_and_nothing_is_lost(tmp_path: Path) -> None:
    root = tmp_path / "run"
    files, ledger = written(root, EVENTS[:-1])
    path = event_file(root, COMPLETE)
    path.unlink()
    path.symlink_to("/dev/full")
    ledger.append(EVENTS[-1])
    with pytest.raises(StudyError, match=r"(?s)cannot be written: No space left on device.*--resume"):
        files(EVENTS[-1], ledger.history)
    path.unlink()
    files.rebuild(ledger.history)
    assert content(root) == replayed(ledger.history, tmp_path / "replayed")


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    root = tmp_path / "run"
    files, ledger = written(root, EVENTS)
    shutil.rmtree(root / "tensorboard")
    (root / "tensorboard").touch()
    with pytest.raises(StudyError, match="tensorboard: cannot be written"):
        files.rebuild(ledger.history)


def test_writing_needs_neither_torch_nor_tensorflow() -> None:
    code = "import sys, search.compare.tensorboard; print({'torch', 'tensorflow'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


class Board:
    """A TensorBoard that `serve` has started in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.address = process.stdout.readline().split()[-1]

    def get(self, page: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + page, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def until(self, ask: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
        """The first answer that is enough; TensorBoard reads files while it already serves."""
        deadline = time.monotonic() + 30
        while not enough(answer := ask()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return answer

    def groups(self, count: int) -> dict[str, Any]:
        """The rows of the HParams page by their names, once there are `count`."""
        statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
        body = {"experimentName": "", "allowedStatuses": statuses, "startIndex": 0, "sliceSize": 1000, "colParams": []}
        rows = self.until(
            lambda: self.get("data/plugin/hparams/session_groups", body)["sessionGroups"], lambda r: len(r) >= count
        )
        return {row["name"]: row for row in rows}

    def experiment(self) -> Any:
        return self.get("data/plugin/hparams/experiment?request=%7B%7D")


@contextmanager
def board(roots: list[Path], port: int = 0, host: str = "", warning: str = "") -> Iterator[Board]:
    """The board of runs, in a process of its own that says nothing on stderr but the warning."""
    command = [sys.executable, "-m", "search", "board", f"--port={port}", *map(str, roots)]
    command += [f"--host={host}"] if host else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Board(process)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[1] == warning
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """The board of a run that is under way; its event files are missing."""
    root = tmp_path_factory.mktemp("one") / "run"
    written(root, [*EVENTS, asked(3, SIMCLR)])
    shutil.rmtree(root / "tensorboard")
    with board([root]) as shown:
        yield shown


def test_the_scalars_page_has_every_trial(one: Board) -> None:
    tags = one.until(lambda: one.get("data/plugin/scalars/tags"), lambda t: len(t) == 4)
    assert set(tags) == {COMPLETE, STOPPED, "floor-raw", "floor-untrained"}  # the others have measured nothing
    assert "goal/knn_accuracy" in tags[COMPLETE]
    query = urllib.parse.urlencode({"run": COMPLETE, "tag": "goal/knn_accuracy"})
    points = one.get(f"data/plugin/scalars/scalars?{query}")
    assert [(step, value) for _, step, value in points] == [(1, 0.625), (3, 0.75), (9, 0.875)]


def test_the_hparams_page_declares_the_domains(one: Board) -> None:
    one.groups(4)
    experiment = one.experiment()
    columns = {info["name"]: info for info in experiment["hparamInfos"]}
    assert list(columns)[:2] == ["architecture", "method"]  # what is chosen first stands first
    assert columns["method"]["domainDiscrete"] == ["mae", "simclr"]
    assert columns["architecture"]["domainDiscrete"] == ["mlp", "resnet", "vit"]
    assert columns["simclr.temperature"]["domainInterval"] == {"minValue": 0.05, "maxValue": 1.0}
    assert columns["augmentation.crop.scale"]["domainInterval"] == {"minValue": 0.2, "maxValue": 1.0}
    assert columns["resnet.depth"]["domainInterval"] == {"minValue": 1.0, "maxValue": 4.0}
    assert columns["optimizer.batch"]["domainDiscrete"] == [128.0, 256.0]
    assert columns["mae.shuffled"]["type"] == "DATA_TYPE_BOOL"
    assert columns["mae.shuffled"]["domainDiscrete"] == [False, True]
    assert len(columns) == 7
    shown = [info["displayName"] for info in experiment["metricInfos"]]
    assert shown == ["knn_accuracy", "test_knn_accuracy", "epoch", "seconds"]


def test_the_hparams_page_has_a_row_a_trial_and_blanks_where_a_knob_does_not_apply(one: Board) -> None:
    rows = one.groups(4)
    assert set(rows) == {COMPLETE, STOPPED, FAILED, RUNNING}
    common = {"augmentation.crop.scale": 0.5, "optimizer.batch": 128.0}
    simclr = {"method": "simclr", "architecture": "resnet", "simclr.temperature": 0.25, "resnet.depth": 2.0}
    assert rows[COMPLETE]["hparams"] == rows[RUNNING]["hparams"] == {**simclr, **common}
    common = {"augmentation.crop.scale": 0.75, "optimizer.batch": 256.0}
    assert rows[FAILED]["hparams"] == {"method": "mae", "architecture": "vit", "mae.shuffled": True, **common}
    assert rows[FAILED]["hparams"]["mae.shuffled"] is True
    metrics = {m["name"]["tag"]: m["value"] for m in rows[COMPLETE]["metricValues"]}
    assert metrics == {
        "probe/knn_accuracy": 0.875,
        "test/knn_accuracy": 0.75,
        "usage/epoch": 9.0,
        "usage/seconds": 6.0,
    }
    statuses = {name: row["sessions"][0]["status"] for name, row in rows.items()}
    assert (statuses[COMPLETE], statuses[FAILED]) == ("STATUS_SUCCESS", "STATUS_FAILURE")
    assert statuses[RUNNING] == statuses[STOPPED] == "STATUS_UNKNOWN"


def test_it_listens_on_loopback_alone_and_does_not_smooth(one: Board) -> None:
    url = urllib.parse.urlsplit(one.address)
    assert url.hostname == "127.0.0.1"
    with socket.socket() as other, pytest.raises(OSError, match=r"refused|assign|unreachable"):
        other.connect(("127.0.0.2", url.port))  # whoever listens everywhere, answers here
    with urllib.request.urlopen(one.address) as page:
        assert page.url.endswith("/?smoothing=0")
        assert b"<html" in page.read()


@pytest.mark.parametrize(
    ("host", "reached", "warns"),
    [("0.0.0.0", "127.0.0.2", True), ("127.0.0.2", "127.0.0.2", False), ("localhost", "127.0.0.1", False)],
)
def test_where_others_can_reach_it_a_warning_says_so(host: str, reached: str, warns: bool, tmp_path: Path) -> None:
    written(tmp_path / "run", EVENTS)
    warning = (
        f"warning: --host {host}: anyone who can reach the port can read the run; TensorBoard asks for no password\n"
    )
    with board([tmp_path / "run"], host=host, warning=warning if warns else "") as shown:
        port = urllib.parse.urlsplit(shown.address).port
        with urllib.request.urlopen(f"http://{reached}:{port}/") as page:
            assert b"<html" in page.read()


@pytest.mark.parametrize("host", ["no such host", "a..b", "192.0.2.1"])  # the last is of no machine: RFC 5737
def test_a_host_that_is_not_this_machine_is_one_message(host: str, tmp_path: Path) -> None:
    written(tmp_path / "run", EVENTS)
    with pytest.raises(StudyError, match=f"^--host: '{host}' is no address to listen at"):
        serve([Folder(tmp_path / "run")], 0, host)


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    first, second = tmp_path / "monday" / "run", tmp_path / "tuesday" / "run"
    written(first, EVENTS)
    knobs = [{"name": "optimizer.lr", "kind": "log", "low": 0.001, "high": 0.1}, *KNOBS[3:4]]
    knobs.append({"name": "optimizer.batch", "kind": "choice", "options": [64, 128]})
    other = {**STUDY, "knobs": knobs, "metric": "rankme"}
    written(second, [other, asked(0, SIMCLR), rung(0, 1, 0.5)])
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with board([first, second, first], port) as both:
            assert both.address.startswith("http://127.0.0.1:")
            assert urllib.parse.urlsplit(both.address).port != port
            rows = both.groups(4)
            assert set(rows) == {"monday/run/t0000", "monday/run/t0001", "monday/run/t0002", "tuesday/run/t0000"}
            settled = {"method": "simclr", "architecture": "resnet"}
            open_ = {"optimizer.lr": 0.01, "optimizer.batch": 128.0, "augmentation.crop.scale": 0.5}
            assert rows["tuesday/run/t0000"]["hparams"] == {**settled, **open_}
            experiment = both.experiment()
    columns = {info["name"]: info for info in experiment["hparamInfos"]}
    assert columns["optimizer.lr"]["domainInterval"] == {"minValue": 0.001, "maxValue": 0.1}
    assert columns["optimizer.batch"]["domainDiscrete"] == [64.0, 128.0, 256.0]
    assert len(columns) == 8
    shown = [info["displayName"] for info in experiment["metricInfos"]]
    assert shown == ["knn_accuracy", "test_knn_accuracy", "rankme", "epoch", "seconds"]


def test_no_port_left_is_one_message(tmp_path: Path) -> None:
    written(tmp_path / "run", EVENTS)
    with socket.socket() as busy:
        try:
            busy.bind(("127.0.0.1", 65535))
            busy.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        with pytest.raises(StudyError, match="no port is free from 65535 on"):
            serve([Folder(tmp_path / "run")], 65535)


def test_the_header_of_a_real_study(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("name: tiny\nobjective: function\nspace: {function: {branin: search, mixed: search}}\n")
    ledger = start(load_study(str(study)), Folder(tmp_path / "run"), None)
    files = EventFiles(Folder(tmp_path / "run"))
    files.rebuild(ledger.history)
    config = {"function": {"mixed": {"kind": "b", "depth": 3, "rate": 0.01}}}
    for event in (asked(0, config), {**rung(0, 1, 0.0), "metrics": {"value": 0.5}}):
        ledger.append(event)
        files(event, ledger.history)
    assert curves(tmp_path / "run", "t0000")["goal/value"] == [(1, 0.5)]
    found = {}
    for name in ("study", "t0000"):
        for record in LegacyEventFileLoader(str(event_file(tmp_path / "run", name))).Load():
            found |= {value.tag: value.metadata.plugin_data.content for value in record.summary.value}
    experiment = metadata.parse_experiment_plugin_data(found[metadata.EXPERIMENT_TAG])
    columns = {info.name for info in experiment.hparam_infos}
    assert [metric.display_name for metric in experiment.metric_infos] == ["value", "epoch", "seconds"]
    assert {"function", "branin.x", "branin.y", "mixed.kind", "mixed.depth", "mixed.rate"} == columns
    session = metadata.parse_session_start_info_plugin_data(found[metadata.SESSION_START_INFO_TAG])
    assert set(session.hparams) == {"function", "mixed.kind", "mixed.depth", "mixed.rate"}
    assert session.hparams["mixed.kind"].string_value == "b"
    assert session.hparams["mixed.depth"].number_value == 3
