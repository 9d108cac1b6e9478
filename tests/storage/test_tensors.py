"""Tensor files: to the byte what the safetensors library writes, and nothing hostile read."""

from __future__ import annotations

import io
import json
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recurra.errors import CheckpointError
from recurra.storage.tensors import DTYPES, load_tensors, write_tensors

NOT_A_NUMBER = 0x7FC12345  # a payload that a conversion of any kind would lose


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    copy = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return tensor.dtype, tensor.shape, bytes(copy.untyped_storage().tolist())


def save_tensors(tensors: dict[str, Tensor]) -> bytes:
    out = io.BytesIO()
    write_tensors(tensors, out)
    return out.getvalue()


def round_trip(folder: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    path = folder / "some.safetensors"
    path.write_bytes(save_tensors(tensors))
    return load_tensors(path)


def random_bits(dtype: torch.dtype, shape: tuple[int, ...], seed: int) -> Tensor:
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not count:
        return torch.empty(shape, dtype=dtype)
    data = np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8)
    if dtype == torch.bool:
        return torch.from_numpy(data % 2 == 1).reshape(shape)
    return torch.from_numpy(data).view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("shape", [(), (1,), (7,), (0,), (3, 0, 2), (2, 3, 5)])
def test_every_dtype_and_shape_comes_back_to_the_bit(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    tensor = random_bits(dtype, shape, seed=len(shape))
    found = round_trip(tmp_path, {"tensor": tensor})
    assert list(found) == ["tensor"]
    assert bits(found["tensor"]) == bits(tensor)


def test_extreme_values_come_back_to_the_bit(tmp_path: Path) -> None:
    tensors = {
        "nan": torch.tensor([NOT_A_NUMBER], dtype=torch.int32).view(torch.float32),
        "floats": torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 1e-45, 3.4028235e38]),
        "integers": torch.tensor([2**63 - 1, -(2**63)]),
        "bf16": torch.tensor([1.0, 1e-40, 3e38], dtype=torch.bfloat16),
    }
    found = round_trip(tmp_path, tensors)
    assert {name: bits(t) for name, t in found.items()} == {n: bits(t) for n, t in tensors.items()}


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)
SPECS = st.dictionaries(NAMES, st.tuples(st.sampled_from(sorted(DTYPES)), SHAPES), max_size=8)


@given(SPECS, st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_the_bytes_are_the_librarys(specs: dict[str, Any], seed: int) -> None:
    specs.pop("__metadata__", None)
    tensors = {name: random_bits(DTYPES[d], shape, seed) for name, (d, shape) in specs.items()}
    assert save_tensors(tensors) == reference.save(tensors)


def test_the_librarys_files_are_read_metadata_and_ties_too(tmp_path: Path) -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "output": nn.Linear(3, 5)})
    model["output"].weight = model["embedding"].weight
    reference.save_model(model, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    found = load_tensors(tmp_path / "model.safetensors")
    assert {name: bits(t) for name, t in found.items()} == {
        name: bits(t) for name, t in model.state_dict().items()
    }
    assert found["output.weight"] is found["embedding.weight"]


def test_tied_tensors_are_written_once_and_tied_again(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.randn(100, 100))
    tensors = {"first": weight, "second": weight, "third": weight.detach(), "own": weight + 0}
    assert len(save_tensors(tensors)) < 81_000
    found = round_trip(tmp_path, tensors)
    assert found["first"] is found["second"] is found["third"]
    assert found["first"].data_ptr() != found["own"].data_ptr()
    assert {name: bits(t) for name, t in found.items()} == {n: bits(t) for n, t in tensors.items()}


def test_views_of_one_memory_come_back_as_tensors_of_their_own(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "base": base,
        "transposed": base.T,
        "rows": base[1:3],
        "columns": base[:, ::2],
        "flat": base.view(-1),
        "expanded": torch.ones(1).expand(5, 2),
        "diagonal": base.diagonal(),
        "integers": base.view(torch.int32),
        "one_of_a_column": base[:1, 2],
        "corner": base[3:, 5:],
        "empty": base[:0],
        "empty_array": torch.from_numpy(np.empty(0)),
    }
    found = round_trip(tmp_path, tensors)
    assert {name: bits(t) for name, t in found.items()} == {n: bits(t) for n, t in tensors.items()}
    assert all(tensor.is_contiguous() for tensor in found.values())
    assert len({found[name].data_ptr() for name in tensors if tensors[name].numel()}) == 10


def test_contiguous_tensors_are_handed_over_without_a_copy() -> None:
    class Sink:
        def __init__(self) -> None:
            self.addresses: list[int] = []

        def write(self, data: bytes | memoryview) -> int:
            self.addresses.append(np.frombuffer(data, dtype=np.uint8).ctypes.data)
            return len(data)

    sink = Sink()
    weight = nn.Parameter(torch.randn(30, 20))
    write_tensors({"weight": weight}, sink)
    assert sink.addresses[-1] == weight.data_ptr()


def test_loaded_tensors_have_memory_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(save_tensors({"a": torch.ones(1000)}))
    found = load_tensors(path)["a"]
    path.write_bytes(b"")
    found += 1
    assert float(found.sum()) == 2000.0


def test_what_could_not_be_read_is_not_written() -> None:
    out = io.BytesIO()
    with pytest.raises(TypeError, match=r"late: torch\.complex64 has no place"):
        write_tensors({"a": torch.ones(1), "late": torch.ones(1, dtype=torch.complex64)}, out)
    with pytest.raises(CheckpointError, match="cannot be saved: expected names of at most 1024"):
        write_tensors({"n" * 1023: torch.ones(1)}, out)
    with pytest.raises(CheckpointError, match="cannot be saved: expected at most 20000 tensors"):
        write_tensors({str(n): torch.empty(0) for n in range(20_001)}, out)
    with pytest.raises(CheckpointError, match="cannot be saved"):
        write_tensors({"__metadata__": torch.ones(1)}, out)
    assert out.getvalue() == b""


def test_twenty_megabytes_are_serialised_at_memory_speed() -> None:
    tensors = {f"weight_{n}": torch.randn(1000, 1000) for n in range(5)}
    seconds = []
    for _ in range(5):
        begun = time.process_time()
        save_tensors(tensors)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.1


def entry(dtype: Any = "F32", shape: Any = (2,), place: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": place}


def document(header: bytes | dict[str, Any], size: int = 8) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


def nest(text: bytes, count: int) -> bytes:
    return document(b'{"a":{"dtype":"F32","shape":' + text * count)


MALFORMED = {
    "nothing": (b"", "expected at least 10 bytes, found 0"),
    "no_header": (bytes(9), "expected at least 10 bytes, found 9"),
    "empty_header": (bytes(10), "expected a header of JSON"),
    "long_header": ((2**64 - 1).to_bytes(8, "little") + b"{}", "at most 2 bytes, found 18446744"),
    "list": (document(b"[]", 0), "expected a header of JSON"),
    "not_json": (document(b"{'a':1}", 0), "expected flat JSON"),
    "latin1": (document(b'{"\xe9":{}}', 0), "can't decode"),
    "unclosed": (document(b'{"a":{}', 0), "expected flat JSON"),
    "comma": (document(b'{"a":{},}', 0), "expected dtype, shape"),
    "after": (document(b"{} {}", 0), "expected flat JSON"),
    "after_entry": (document(json.dumps({"a": entry()}).encode() + b"x"), "header to end at"),
    "number": (document(b'{"a":1}', 0), "expected flat JSON"),
    "nested_objects": (nest(b'{"a":', 100_000), "expected flat JSON"),
    "nested_lists": (nest(b"[", 30_000) + b"}}", "expected flat JSON"),
    "nested_balanced": (nest(b"[" * 9000 + b"]" * 9000 + b"}}", 1), "Expecting|nesting"),
    "no_keys": (document({"a": {}}, 0), "expected dtype, shape, data_offsets"),
    "more_keys": (document({"a": entry() | {"x": 1}}), "expected dtype, shape, data_offsets"),
    "dtype": (document({"a": entry("F99")}), "expected one of I64, F64.* found 'F99'"),
    "dtype_list": (document({"a": entry(["F32"])}), "expected one of"),
    "complex": (document({"a": entry("C64", (1,))}), "expected one of"),
    "float_shape": (document({"a": entry(shape=(2.0,))}), "expected whole numbers"),
    "bool_shape": (document({"a": entry("F64", (True,))}), "expected whole numbers"),
    "text_shape": (document({"a": entry(shape="2")}), "expected whole numbers"),
    "deep_shape": (document({"a": entry(shape=(1,) * 64 + (2,))}), "expected whole numbers"),
    "negative_shape": (document({"a": entry(shape=(-1, -2))}), "expected whole numbers"),
    "huge_number": (document({"a": entry(shape=(2**64 + 2,))}), "expected whole numbers"),
    "digits": (document(b'{"a":{"shape":[' + b"9" * 5000 + b"]}}", 0), "integer string"),
    "wraps_64_bits": (document({"a": entry(shape=(2**62 + 2, 1))}), "larger than any memory"),
    "wraps_to_8": (document({"a": entry(shape=(2**32 + 1, 2**32, 2))}), "larger than any memory"),
    "overflows_by_0": (
        document({"a": entry(shape=(0, 2**62, 2**62), place=(0, 0))}, 0),
        "larger than any memory",
    ),
    "three_offsets": (document({"a": entry(place=(0, 8, 8))}), "expected whole numbers"),
    "negative_offset": (document({"a": entry(place=(-8, 0))}), "expected whole numbers"),
    "reversed": (document({"a": entry(place=(8, 0))}), "expected 8 bytes, found -8"),
    "small_place": (document({"a": entry(place=(0, 7))}), "expected 8 bytes, found 7"),
    "beyond_the_end": (document({"a": entry(place=(8, 16))}), "start at byte 0, found 8"),
    "truncated": (document({"a": entry()}, 7), "expected 8 bytes of tensors, found 7"),
    "trailing": (document({"a": entry()}, 9), "expected 8 bytes of tensors, found 9"),
    "overlap": (document({"a": entry(), "b": entry(place=(4, 12))}, 12), "start at byte 8, found"),
    "same_place": (document({"a": entry(), "b": entry()}), "start at byte 8, found 0"),
    "gap": (document({"a": entry(), "b": entry(place=(9, 17))}, 17), "start at byte 8, found 9"),
    "twice": (
        document(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2)),
        "'a' is there twice",
    ),
    "key_twice": (document(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "a key that is there twice"),
    "metadata": (document({"__metadata__": {"a": 1}}, 0), "expected metadata of strings"),
    "long_name": (document({"n" * 1100: entry()}), "names of at most 1024 bytes"),
    "long_metadata": (
        document({"__metadata__": {"a": "x" * 70_000}}, 0),
        "entries of at most 65536 bytes",
    ),
    "long_string": (document(b'{"' + b"x" * 1_000_000, 0), "expected flat JSON"),
    "escapes": (document(b'{"' + b"\\\\" * 1_000_000, 0), "expected flat JSON"),
    "lone_surrogate": (document(b'{"\\ud800":%s}' % json.dumps(entry()).encode()), "invalid JSON"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    data, message = MALFORMED[name]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_tensors(path)
    assert str(caught.value).startswith(f"{path} is not valid safetensors: ")
    assert len(str(caught.value)) < 600


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_file_with_any_byte_changed_is_refused_or_read_as_the_library_does(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tensors = {"weight": torch.ones(2, 3), "é": torch.ones(2, dtype=torch.int64)}
    content = bytearray(save_tensors(tensors))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(content)
    try:
        found = load_tensors(path)
    except CheckpointError:
        return
    expected = reference.load(bytes(content))
    assert {name: bits(t) for name, t in found.items()} == {n: bits(t) for n, t in expected.items()}


def test_truncation_at_every_length_is_refused(tmp_path: Path) -> None:
    content = save_tensors({"weight": torch.ones(20)})
    path = tmp_path / "cut.safetensors"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="expected"):
            load_tensors(path)


def save_legacy(model: Any, path: Path) -> None:
    torch.save(model, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_torch_files_are_refused_with_the_way_to_convert_them(
    tmp_path: Path, save: Any, name: str
) -> None:
    save({"weight": torch.ones(3)}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"pickle.*save_file\(torch.load\('model"):
        load_tensors(tmp_path / name)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_are_never_opened(tmp_path: Path, protocol: int) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"weight": Trap()}, protocol))
    with pytest.raises(CheckpointError, match="looks like a pickle"):
        load_tensors(tmp_path / "model.pkl")
    assert not (tmp_path / "sprung").exists()


def test_a_truncated_file_whose_length_looks_like_a_pickle_is_not_called_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "cut.safetensors").write_bytes(0x0280.to_bytes(8, "little") + b'{"a":')
    with pytest.raises(CheckpointError, match="a header of at most 5 bytes, found 640"):
        load_tensors(tmp_path / "cut.safetensors")


def test_links_folders_and_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("link", ".", "nowhere"):
        with pytest.raises(CheckpointError, match=r"expected a regular file|is missing"):
            load_tensors(tmp_path / name)
