"""TensorBoard: event files written from the ledger as a run goes, and the server that shows them.

RUN/tensorboard/study/events...         the HParams page: a column for every knob, with its domain, and the metrics
RUN/tensorboard/t0007/events...         a trial: its values of the knobs, its metrics at every rung, how it ended
RUN/tensorboard/floor-raw/events...     a floor, as a level line in the same charts

A file holds nothing but what the ledger says, so the same history gives the same bytes. A file that a crash has
cut is therefore a beginning of what it should be, and is made whole by writing the rest. The ledger keeps no
time of day: the clock of a trial is the seconds that it has worked, starting at 0. Maps of latents lie beside
event files for those who look (`search.compare.projector`).
"""

from __future__ import annotations

import io
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_FAILURE,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from search.compare.projector import plugins, write_maps
from search.compare.table import HELD_OUT
from search.folder import Folder
from search.ledger import Event, History, Trial, read, unwritable
from spaces.columns import cell
from spaces.document import StudyError, complaint, shown
from spaces.domains import Value
from spaces.space import Config

STUDY = "study"  # beside the trials, a run in TensorBoard's sense
STATUS = {"complete": STATUS_SUCCESS, "stopped": STATUS_SUCCESS, "failed": STATUS_FAILURE}
LOOPBACK = "127.0.0.1"
PORTS = 100  # tried from the one that is asked for
Header = Mapping[str, Any]


class EventFiles:
    """An observer of a sweep that keeps the event files of its run.

    Nothing stays open and nothing is remembered of a trial: an event is appended to its file, which is closed
    again. `rebuild` first, then call for every event that follows.

    Args:
        folder: the run's; files go under its `tensorboard`.

    Raises:
        StudyError: the disk is full or broken; `rebuild` makes whole what was cut.
    """

    def __init__(self, folder: Folder) -> None:
        self.root = folder.tensorboard
        self.ended = False  # whether the files say that paused trials were stopped for good

    def __call__(self, event: Event, history: History) -> None:
        """Writes what one event, the newest of the history, adds."""
        with _writing(self.root):
            self._take(event, history)

    def rebuild(self, history: History) -> None:
        """Makes the files say what the history says, whatever state they are in."""
        with _writing(self.root):
            self._rebuild(history)

    def _take(self, event: Event, history: History) -> None:
        if self.ended:  # a finished run goes on, and trials that were stopped may too
            self._rebuild(history)
            return
        match event["event"]:
            case "study":
                _settle(_path(self.root, STUDY), _study([history.header]))
            case "floors":
                for name in event["floors"]:
                    _settle(_path(self.root, f"floor-{name}"), _floor(history, name))
            case "asked":
                _settle(_path(self.root, event["id"]), _trial(history, history.trials[event["id"]]))
            case "rung" | "failed":
                trial, at_rung = history.trials[event["id"]], event["event"] == "rung"
                if at_rung and (trial.failed or event["epoch"] < trial.epoch):  # found again: the ledger was damaged
                    _settle(_path(self.root, trial.id), _trial(history, trial))
                else:
                    newest = [_rung(history, trial, len(trial.rungs))] if at_rung else []
                    self._append(trial.id, [*newest, *_end(history, trial)], history)
            case "finished":
                for trial in history.trials.values():
                    if history.state(trial) == "stopped":
                        self._append(trial.id, _end(history, trial), history)
                self.ended = True

    def _rebuild(self, history: History) -> None:
        expected = set()
        for name, records in _all(history):
            path = _path(self.root, name)
            _settle(path, records)
            expected.add(path)
        for path in self.root.rglob("*tfevents*"):
            if path not in expected:
                path.unlink()
        self.ended = history.finished

    def _append(self, name: str, records: Iterable[Record], history: History) -> None:
        try:
            with open(_path(self.root, name), "r+b") as file:
                file.seek(0, os.SEEK_END)
                file.write(_framed(records))
        except FileNotFoundError:  # somebody has tidied up
            self._rebuild(history)


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Says in one message that the files cannot be written."""
    try:
        yield
    except OSError as error:
        raise unwritable(root, error) from None


def _settle(path: Path, records: Iterable[Record]) -> None:
    """Brings a file to its content: by writing what is missing of it, else by putting a new one in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content, found = _framed(records), path.read_bytes() if path.exists() else b""
    if content.startswith(found):
        with open(path, "ab") as file:
            file.write(content[len(found) :])
    else:
        draft = path.with_name("draft")  # TensorBoard reads whatever has `tfevents` in its name
        draft.write_bytes(content)
        os.replace(draft, path)


def _path(root: Path, name: str) -> Path:
    return root / name / f"events.out.tfevents.0000000000.{name}"


def _all(history: History) -> Iterator[tuple[str, list[Record]]]:
    """Every run of TensorBoard that a history gives, with its records."""
    yield STUDY, _study([history.header])
    for name in history.floors or {}:
        yield f"floor-{name}", _floor(history, name)
    for trial in history.trials.values():
        yield trial.id, _trial(history, trial)


def _trial(history: History, trial: Trial) -> list[Record]:
    """A trial from its start to where it is: a session of the HParams page, and its curves."""
    start = SessionStartInfo(start_time_secs=0)
    for name, value in _values(history.header, trial.config).items():
        kind = "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "number_value"
        setattr(start.hparams[name], kind, value)
    records = [*_opening(), _plugin(metadata.SESSION_START_INFO_TAG, 0, session_start_info=start)]
    records += [_rung(history, trial, count) for count in range(1, len(trial.rungs) + 1)]
    return records + _end(history, trial)


def _rung(history: History, trial: Trial, count: int) -> Record:
    """The metrics of a trial's rung number `count`, from 1, and what it took to get there."""
    rung = trial.rungs[count - 1]
    seconds = sum(r.seconds for r in trial.rungs[:count])
    cost = {"epoch": rung.epoch, "seconds": seconds}
    return _scalars(history.header, rung.epoch, seconds, {**rung.metrics, **cost})


def _end(history: History, trial: Trial) -> list[Record]:
    """How a trial ended, if it did."""
    status = STATUS.get(history.state(trial))
    if status is None:
        return []
    info = SessionEndInfo(status=status, end_time_secs=trial.seconds)
    return [_plugin(metadata.SESSION_END_INFO_TAG, trial.seconds, session_end_info=info)]


def _floor(history: History, name: str) -> list[Record]:
    """A floor from the first rung to the last, or to the only one from the start."""
    rungs = history.rungs if len(history.rungs) > 1 else (0, *history.rungs)
    scores = (history.floors or {})[name]
    return [*_opening(), *(_scalars(history.header, step, 0, scores) for step in (rungs[0], rungs[-1]))]


def _opening() -> list[Record]:
    return [Record(wall_time=0, file_version="brain.Event:2")]


def _scalars(header: Header, step: int, clock: float, metrics: Mapping[str, float]) -> Record:
    """The metrics under their tags; the study's own metric and its twin once more, on top of the page."""
    values = [Summary.Value(tag=_tag(name, header), simple_value=value) for name, value in metrics.items()]
    for name in (header["metric"], HELD_OUT + header["metric"]):
        if name in metrics:
            values.append(Summary.Value(tag=f"goal/{name}", simple_value=metrics[name]))
    return Record(wall_time=clock, step=step, summary=Summary(value=values))


def _tag(name: str, header: Header) -> str:
    """A metric's place on the page, the same in all studies: groups stand there in the order of the alphabet."""
    if name.startswith(HELD_OUT):
        return f"test/{name.removeprefix(HELD_OUT)}"
    if name in header["scores"]:
        return f"probe/{name}"
    return f"usage/{name}" if name in ("epoch", "parameters") or name.endswith("seconds") else f"train/{name}"


def _values(header: Header, config: Config) -> dict[str, Value]:
    """What a config has in each column; one that does not apply to it is left out.

    A settled switch is told too: a run beside this one may leave it open.
    """
    names = [*header["switches"], *(knob["name"] for knob in header["knobs"])]
    found = {_column(name, header): cell(config, name) for name in names}
    return {column: value for column, value in found.items() if value is not None}


def _column(name: str, header: Header) -> str:
    """The column of a knob: short for what hangs on a switch, `simclr.temperature` for `method.simclr.temperature`."""
    place = _plain(name)
    above = next((s for s in header["switches"] if place.startswith(f"{s}.")), "")
    return place.removeprefix(f"{above}.") if above else place


def _plain(name: str) -> str:
    """Where a knob stands; a switch that another narrows, `architecture[vit|mlp]`, stands where all of it does."""
    return name.partition("[")[0]


def _study(headers: Iterable[Header]) -> list[Record]:
    """What the HParams page shows of one study or several: the union of their knobs and metrics, as its columns."""
    columns: dict[str, list[Header]] = {}
    metrics: dict[str, str] = {}
    switches: set[str] = set()
    for header in headers:
        switches.update(header["switches"])
        for knob in header["knobs"]:
            columns.setdefault(_column(knob["name"], header), []).append(knob)
        metric = header["metric"]
        metrics[metric] = _tag(metric, header)
        if header["scores"][metric]:  # those that ask for none have no twin on held-out images
            metrics[HELD_OUT + metric] = _tag(HELD_OUT + metric, header)
    metrics |= {name: f"usage/{name}" for name in ("epoch", "seconds")}
    experiment = Experiment(
        hparam_infos=[_info(name, knobs, name in switches) for name, knobs in columns.items()],
        metric_infos=[MetricInfo(name=MetricName(tag=tag), display_name=name) for name, tag in metrics.items()],
    )
    return [*_opening(), _plugin(metadata.EXPERIMENT_TAG, 0, experiment=experiment)]


def _info(name: str, knobs: list[Header], differ: bool) -> HParamInfo:
    """A column with the domain that its knobs span together; TensorBoard puts those that `differ` first."""
    info = HParamInfo(name=name, differs=differ)
    options = sorted({option for knob in knobs for option in knob.get("options", ())})
    bounds = [bound for knob in knobs if "low" in knob for bound in (knob["low"], knob["high"])]
    if bounds:
        info.type = DATA_TYPE_FLOAT64
        info.domain_interval.min_value = min(bounds + options)
        info.domain_interval.max_value = max(bounds + options)
    else:
        kinds = {bool: DATA_TYPE_BOOL, str: DATA_TYPE_STRING}
        info.type = kinds.get(type(options[0]), DATA_TYPE_FLOAT64)
        info.domain_discrete.extend(options)
    return info


def _plugin(tag: str, clock: float, **content: Any) -> Record:
    """A record for the HParams page, which reads it from the description of an empty tensor."""
    data = HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content).SerializeToString(deterministic=True)
    about = SummaryMetadata(plugin_data={"plugin_name": metadata.PLUGIN_NAME, "content": data})
    value = Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
    return Record(wall_time=clock, summary=Summary(value=[value]))


def _framed(records: Iterable[Record]) -> bytes:
    """The records as they stand in an event file."""
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for record in records:
        writer.write(record.SerializeToString(deterministic=True))
    return buffer.getvalue()


def serve(folders: Sequence[Folder], port: int, host: str | None = None) -> None:
    """Shows runs in TensorBoard until Ctrl-C; of several, each trial is called `RUN/t0007`.

    Args:
        folders: the runs'.
        port: where to listen, or the next free one; 0 for any.
        host: the address to listen at, by default `LOOPBACK`; at another one, a warning says who can read along.

    Raises:
        StudyError: no port is free, or the host is none of this machine's.
    """
    from tensorboard.program import TensorBoard  # half a second, which only those pay who look

    host = host or LOOPBACK
    if not _is_loopback(host):
        warning = f"warning: --host {shown(host)}: anyone who can reach the port can read the run; TensorBoard asks for"
        print(f"{warning} no password", file=sys.stderr, flush=True)
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    runs = list(dict.fromkeys(Folder(folder.root.resolve()) for folder in folders))
    with TemporaryDirectory(prefix="pretune-board-") as room:
        board = TensorBoard(plugins=plugins(runs), server_class=_server)
        # One process reads and serves: the faster reader is a second server, and does not say which study comes first.
        where = str(_shown(runs, Path(room)))
        board.configure(logdir=where, host=host, port=port, load_fast="false")
        print(f"TensorBoard: {board.launch()}\nCtrl-C ends it.", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the room goes in either way
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at a host; refuses one at which this machine cannot listen."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        for family, kind, *_, address in found[:1]:
            with socket.socket(family, kind) as probe:
                probe.bind(address)
    except (OSError, UnicodeError) as error:
        what = f"'{shown(host)}' is no address to listen at ({getattr(error, 'strerror', None) or error})"
        raise StudyError(complaint("--host", what, "an address of this machine")) from None
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def _shown(runs: Sequence[Folder], room: Path) -> Path:
    """The folder that TensorBoard reads: the run's own, or one that joins several, their columns united."""
    histories = [read(run.ledger)[0] for run in runs]
    for run, history in zip(runs, histories, strict=True):
        if not run.tensorboard.exists():  # else the run keeps it, and may be at it now
            EventFiles(run).rebuild(history)
        write_maps(run, history)
    if len(runs) == 1:
        return runs[0].tensorboard
    for name, run in zip(_names([run.root for run in runs]), runs, strict=True):
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).symlink_to(run.tensorboard)
    # Of several experiments TensorBoard heeds the first that it finds, and it starts at the root.
    _settle(room / _path(room, STUDY).name, _study([history.header for history in histories]))
    return room


def _names(roots: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart: `quickstart`, or `monday/quickstart`."""
    length = 1
    while len({root.parts[-length:] for root in roots}) < len(roots):
        length += 1
    return ["/".join(root.parts[-length:]) for root in roots]


def _server(app: Any, flags: Namespace) -> Any:
    """TensorBoard's own server, at the first free port from the one in the flags."""
    from tensorboard.program import TensorBoardPortInUseError, TensorBoardServerException, WerkzeugServer

    for port in range(flags.port, min(flags.port + PORTS, 1 << 16)):
        try:
            return WerkzeugServer(_unsmoothed(app), Namespace(**vars(flags) | {"port": port}))
        except TensorBoardPortInUseError:
            continue
        except TensorBoardServerException as error:
            raise StudyError(complaint("--port", error.msg)) from None
    raise StudyError(complaint("--port", f"no port is free from {flags.port} on, of {PORTS}", "0 for any free one"))


def _unsmoothed(app: Any) -> Any:
    """TensorBoard without its habit of smoothing curves: of a few rungs that shows what nobody measured."""

    def answer(environ: dict[str, Any], start: Any) -> Any:
        if environ["PATH_INFO"] != "/" or environ.get("QUERY_STRING"):
            return app(environ, start)
        start("302 Found", [("Location", "/?smoothing=0"), ("Content-Length", "0")])
        return []

    return answer
