"""GGUF files that attack: each is refused in one line, before memory is taken."""

import struct
import tracemalloc
from pathlib import Path

import pytest
from gguf import GGUFWriter
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.errors import ModelError
from dobby_dagster.inference.local.tokenizer import load_tokenizer
from dobby_dagster.inference.models import gguf_tokenizer
from dobby_dagster.inference.models.gguf_header import Array, read_array, read_header
from dobby_dagster.inference.models.model_lookup import check_model
from dobby_dagster_tests.helpers.gguf_files import as_gguf

# Of a file of 400 KB with 300 tokens, to check and to read its tokenizer.
MOST_BYTES = 4_000_000


@pytest.fixture(scope="module")
def file(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_gguf(llama, tmp_path_factory.mktemp("gguf") / "model.gguf")


@pytest.fixture(scope="module")
def header_bytes(file: Path) -> int:
    return min(place.offset for place in read_header(file).tensors.values())


def read(path: Path) -> None:
    """All that is read of a file before a library reads it."""
    model = check_model(path)
    assert model.tokenizer().json
    assert model.prompt_limit(100, 8) > 0


def assert_read_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    tracemalloc.start()
    try:
        read(path)
    except ModelError as error:
        assert "\n" not in error.message
        assert str(path) in error.message
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MOST_BYTES


NUMBERS = st.sampled_from([0, 1, 2, 255, 2**31, 2**32 - 1, 2**32, 2**62, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_number_anywhere_in_the_header_is_read_or_refused(
    data: st.DataObject, file: Path, header_bytes: int, tmp_path: Path
) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at, size = data.draw(st.integers(0, header_bytes - 8)), data.draw(st.sampled_from([1, 4, 8]))
        content[at : at + size] = (data.draw(NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little")
    assert_read_or_refused(tmp_path / "mutated.gguf", bytes(content))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_that_ends_early_is_truncated(data: st.DataObject, file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ModelError, match="truncated"):
        read(cut)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200).map(lambda rest: b"GGUF\x03\0\0\0" + rest))
@example(content=b"GGUF\x03\0\0\0" + b"\xff" * 16)
def test_any_bytes_are_refused(content: bytes, tmp_path: Path) -> None:
    assert_read_or_refused(tmp_path / "bytes.gguf", content)


def field(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def whole(fields: list[bytes], tensors: list[bytes], data: bytes = b"", version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(fields)) + b"".join(fields) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data


def tensor(name: str, shape: list[int], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + items


ATTACKS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is truncated, or not a GGUF file"),
    "another file": (b"PK\x03\x04" + bytes(100), "it does not begin with GGUF"),
    "version 1": (whole([], [], version=1), "version 1 is not supported"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 1, 1), "version 50331648 is not supported"),
    "tensors without end": (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "tensors has 9,223,372,036,854,775,808 items"),
    "fields without end": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40), "metadata has 1,099,511,627,776 items"),
    "an array without end": (whole([field("a", 9, array(0, 2**62))], []), "an array has 4,611,686,018,427,387,904 items"),
    "an array beyond the file": (whole([field("a", 9, array(10, 900_000))], []), "is truncated"),
    "texts beyond the file": (whole([field("a", 9, array(8, 900_000))], []), "is truncated"),
    "an array of arrays": (whole([field("a", 9, array(9, 1, array(9, 1)))], []), "type 9 of an array's items"),
    "a text without end": (whole([field("a", 8, struct.pack("<Q", 2**62))], []), "a text has 4,611,686,018,427,387,904"),
    "a type that is none": (whole([field("a", 77, b"")], []), "type 77 of a value is unknown"),
    "a key twice": (whole([field("a", 0, b"\1")] * 2, []), "'a' is stored twice"),
    "a key that is no text": (whole([struct.pack("<Q", 2) + b"\xff\xfe" + bytes(5)], []), "a text is not UTF-8"),
    "a tensor twice": (whole([], [tensor("a", [8])] * 2, bytes(64)), "tensor 'a' is stored twice"),
    "a tensor of many dimensions": (whole([], [tensor("a", [8] * 9)]), "tensor 'a' has 9 dimensions"),
    "a tensor of no dimension": (whole([], [tensor("a", [])]), "tensor 'a' has 0 dimensions"),
    "a tensor of nothing": (whole([], [tensor("a", [8, 0])]), r"tensor 'a' of \(0, 8\) numbers"),
    "a tensor whose size overflows": (whole([], [tensor("a", [2**63, 2**63])]), "is truncated"),
    "a tensor of half a block": (whole([], [tensor("a", [40], 8)]), "can't be stored in blocks of 32"),
    "a type that can't be dequantized": (whole([], [tensor("a", [32], 9)]), "in ggml's type 9, which can't be"),
    "a type without end": (whole([], [tensor("a", [32], 2**32 - 1)]), "in ggml's type 4294967295"),
    "a tensor out of the file": (whole([], [tensor("a", [8], 0, 2**40)], bytes(32)), "is truncated"),
    "a tensor that is not aligned": (whole([], [tensor("a", [8], 0, 5)], bytes(64)), "overlaps another, or is not aligned"),
    "tensors over each other": (
        whole([], [tensor("a", [16]), tensor("b", [8], 0, 32)], bytes(128)), "'b' overlaps another"
    ),
    "an alignment of nothing": (whole([field("general.alignment", 4, bytes(4))], []), "general.alignment = 0 is invalid"),
    "an alignment below zero": (
        whole([field("general.alignment", 5, struct.pack("<i", -8))], []), "general.alignment = -8 is invalid"
    ),
    "an alignment without end": (
        whole([field("general.alignment", 10, struct.pack("<Q", 2**62))], []), "general.alignment = .* is invalid"
    ),
    "no architecture": (whole([], []), "architecture None is not supported"),
    "another architecture": (whole([field("general.architecture", 8, text("gpt2\x1b"))], []), r"architecture 'gpt2\\x1b'"),
    "a model of no numbers": (whole([field("general.architecture", 8, text("llama"))], []), "is invalid"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_files_that_are_no_model_are_named(name: str, tmp_path: Path) -> None:
    content, message = ATTACKS[name]
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read(path)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(ModelError, match="is not a regular file"):
        check_model(tmp_path / "model.gguf")


def test_an_array_is_read_when_it_is_needed(file: Path) -> None:
    found = read_header(file).metadata["tokenizer.ggml.tokens"]
    assert isinstance(found, Array)
    assert len(read_array(file, found)) == found.count


def test_a_token_without_end_is_refused_before_it_is_cut(llama: Path, tmp_path: Path) -> None:
    def tokenizer(writer: GGUFWriter) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["a", "a" * 300])
        writer.add_token_scores([0.0, 0.0])

    model = check_model(as_gguf(llama, tmp_path / "model.gguf", tokenizer=tokenizer))
    with pytest.raises(ModelError, match="a token has 300 characters; 256 are allowed"):
        model.tokenizer()


def test_merges_without_end_are_refused(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tokenizer(writer: GGUFWriter) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["a" * (count + 1) for count in range(100)])  # 99 * 100 / 2 merges
        writer.add_token_scores([0.0] * 100)

    model = check_model(as_gguf(llama, tmp_path / "model.gguf", tokenizer=tokenizer))
    assert model.tokenizer().json
    monkeypatch.setattr(gguf_tokenizer, "MOST_MERGES", 4_949)
    with pytest.raises(ModelError, match="the tokenizer has more than 4,949 merges"):
        model.tokenizer()


def test_a_template_runs_in_the_sandbox(llama: Path, tmp_path: Path) -> None:
    path = as_gguf(
        llama, tmp_path / "model.gguf", change=lambda writer: writer.add_chat_template("{{ ''.__class__.__mro__ }}")
    )
    with pytest.raises(ModelError, match="the chat template does something unsafe"):
        load_tokenizer(check_model(path)).prompts([("system", "user")])


def test_a_template_without_end_is_refused(llama: Path, tmp_path: Path) -> None:
    path = as_gguf(llama, tmp_path / "model.gguf", change=lambda writer: writer.add_chat_template("x" * 100_001))
    with pytest.raises(ModelError, match="chat_template = .* is invalid"):
        check_model(path)
