"""The state of a trial as one file that needs no pickle.

The file is in safetensors, https://huggingface.co/docs/safetensors: each tensor under its dotted path in the state,
and in the metadata, under `pretune`, the text

    FORMAT CHECKSUM JSON

where the JSON is the state, its tensors and what JSON does not know replaced by objects with the key `$`:

    {"$": "tensor", "name": n}                a tensor; `shape` and `strides` if its memory is not in the order of its
                                              dimensions, `complex` if it is stored as pairs of numbers
    {"$": "tuple", "of": [...]}
    {"$": "dict", "of": [[key, value], ...]}  with keys that are whole numbers, or with a key `$`
    {"$": "ordered", "of": ..., "about": m}   an OrderedDict, and the versions that `nn.Module.state_dict` notes on it
    {"$": "float", "of": "nan"}               or inf, -inf
    {"$": "int", "of": "0x..."}               beyond 64 bits

and the checksum is the CRC-32 of all of it, the tensors' names, types, shapes and contents included.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # commands that read no state start without torch
    from torch import Tensor

FORMAT = 1
NOTE = "pretune"  # the key of the metadata
MARK = "$"
DEEPEST = 100  # levels of nesting
TAKEN = "__metadata__"  # what safetensors keeps for itself


class Damaged(ValueError):
    """A file that is not the whole state of a trial."""


def pack(state: dict[str, Any]) -> bytes:
    """The file of a state: nested dicts, lists and tuples of tensors, numbers, text, truth values and None.

    The same state gives the same bytes.

    Raises:
        TypeError: it holds something else; the message says where.
        ValueError: it is nested too deeply, or holds itself.
    """
    from safetensors.torch import save

    if type(state) not in (dict, OrderedDict):
        raise _alien(state, ())
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_coded(state, (), tensors), allow_nan=False, separators=(",", ":"))
    return save(tensors, {NOTE: f"{FORMAT} {_checksum(text, tensors):08x} {text}"})


def unpack(content: bytes) -> dict[str, Any]:
    """The state of a file: equal to the one that was packed in types, order and every bit, its tensors on the CPU.

    A tensor has the strides that it had, unless they left gaps or overlapped; tensors no longer share memory, and
    record no gradients.

    Raises:
        Damaged: the file is not whole, or not one of `pack`.
    """
    try:
        return _unpacked(content)
    except MemoryError:
        raise
    except Exception as error:  # a broken file may trip anything
        found = " ".join(str(error).split())[:200]
        raise Damaged(f"no whole state of a trial: {type(error).__name__}: {found}") from None


def _unpacked(content: bytes) -> dict[str, Any]:
    from safetensors.torch import load

    tensors = load(content)  # checks the header
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    number, checksum, text = header[TAKEN][NOTE].split(" ", 2)
    if number != str(FORMAT):
        raise ValueError(f"its format is {number}, expected {FORMAT}")
    if checksum != f"{_checksum(text, tensors):08x}":
        raise ValueError("its checksum is wrong")
    state = _decoded(json.loads(text), tensors)
    if not isinstance(state, dict) or tensors:
        raise ValueError("it holds something else")
    return state


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    import torch

    crc = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, crc)
    return crc


def _coded(value: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    """A value as JSON can hold it; its tensors are added to `tensors`."""
    if len(path) > DEEPEST:
        raise ValueError(f"{'.'.join(path)[:80]}...: nested more than {DEEPEST} levels deep")
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if abs(value) < 2**63 else {MARK: "int", "of": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {MARK: "float", "of": repr(value)}
    if kind in (list, tuple):
        items = [_coded(item, (*path, str(place)), tensors) for place, item in enumerate(value)]
        return items if kind is list else {MARK: "tuple", "of": items}
    if kind is dict:
        return _coded_dict(value, path, tensors)
    if kind is OrderedDict:
        about = _coded(getattr(value, "_metadata", None), (*path, "_metadata"), tensors)
        return {MARK: "ordered", "of": _coded_dict(value, path, tensors), "about": about}
    return _coded_tensor(value, path, tensors)


def _coded_dict(value: Mapping[Any, Any], path: tuple[str, ...], tensors: dict[str, Tensor]) -> dict[str, Any]:
    for key in value:
        if type(key) not in (str, int):
            raise _alien(key, path, "a key that is ")
    pairs = [(key, _coded(item, (*path, str(key)), tensors)) for key, item in value.items()]
    if MARK in value or not all(isinstance(key, str) for key in value):
        return {MARK: "dict", "of": [[_coded(key, path, tensors), item] for key, item in pairs]}
    return dict(pairs)


def _coded_tensor(value: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> dict[str, Any]:
    import torch

    if type(value) is not torch.Tensor:
        raise _alien(value, path)
    if value.dtype not in _dtypes():
        raise _alien(value, path, f"{value.dtype}, ")
    if value.layout is not torch.strided or value.is_meta:
        raise _alien(value, path, f"{value.layout} on {value.device}, ")
    name = ".".join(path).encode(errors="replace").decode()
    while name in tensors or name == TAKEN:
        name += "'"
    coded: dict[str, Any] = {MARK: "tensor", "name": name}
    tensor = value.detach().cpu().resolve_conj()
    shape, strides = tuple(tensor.shape), tensor.stride()
    if strides != _plain_strides(shape) and _fills(shape, strides):
        coded |= {"shape": shape, "strides": strides}
        tensor = tensor.permute(sorted(range(tensor.dim()), key=lambda axis: (-strides[axis], -shape[axis])))
    if tensor.is_complex():
        coded["complex"] = True
        tensor = torch.view_as_real(tensor)
    tensors[name] = tensor.clone(memory_format=torch.contiguous_format)
    return coded


def _decoded(coded: Any, tensors: dict[str, Tensor]) -> Any:
    """What `_coded` was given; tensors are taken out of `tensors`."""
    if isinstance(coded, list):
        return [_decoded(item, tensors) for item in coded]
    if not isinstance(coded, dict):
        return coded
    match coded:
        case {"$": "tensor"}:
            return _decoded_tensor(coded, tensors)
        case {"$": "tuple", "of": items}:
            return tuple(_decoded(items, tensors))
        case {"$": "dict", "of": pairs}:
            return {_decoded(key, tensors): _decoded(item, tensors) for key, item in pairs}
        case {"$": "ordered", "of": items, "about": about}:
            ordered = OrderedDict(_decoded(items, tensors))
            if about is not None:
                ordered._metadata = _decoded(about, tensors)  # type: ignore[attr-defined]
            return ordered
        case {"$": "float", "of": word}:
            return float(word)
        case {"$": "int", "of": digits}:
            return int(digits, 16)
        case {"$": kind}:
            raise ValueError(f"there is no kind of value '{kind}'")
    return {key: _decoded(item, tensors) for key, item in coded.items()}


def _decoded_tensor(coded: dict[str, Any], tensors: dict[str, Tensor]) -> Tensor:
    import torch

    tensor = tensors.pop(coded["name"]).clone()  # into memory that is aligned as all of torch's
    if coded.get("complex"):
        tensor = torch.view_as_complex(tensor)
    if "strides" not in coded:
        return tensor
    shape, strides = coded["shape"], coded["strides"]
    if math.prod(shape) != tensor.numel() or not _fills(shape, strides):
        raise ValueError(f"the strides {strides} do not fit the shape {shape}")
    return tensor.reshape(-1).as_strided(shape, strides)


def _dtypes() -> set[Any]:
    """The types of numbers that are kept: safetensors' since its version 0.5, and complex ones as pairs of these."""
    import torch

    whole = {torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64}
    real = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
    return {torch.bool, torch.complex64, torch.complex128} | whole | real


def _plain_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides that a new tensor of this shape has."""
    return tuple(math.prod(max(size, 1) for size in shape[axis + 1 :]) for axis in range(len(shape)))


def _fills(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a tensor fills its memory without gaps or overlap, in whatever order."""
    step = 1
    for stride, size in sorted((stride, size) for stride, size in zip(strides, shape, strict=True) if size != 1):
        if stride != step:
            return False
        step *= size
    return True


def _alien(value: Any, path: tuple[str, ...], what: str = "") -> TypeError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return TypeError(f"{'.'.join(path) or 'the state'}: a state cannot hold {what}{kind}")
