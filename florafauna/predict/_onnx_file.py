"""The bytes of an exported .onnx file: sealed, and without external data. Read without `onnx`, which is not required.

An ONNX file is a protobuf: a message of fields, each a number, a wire type and a value, which may be a message again.
"""

import re
from collections.abc import Iterator

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_bytes

KEY = "florafauna_sha256"  # the name in the file's metadata
UNSEALED = "0" * 64  # the seal while the file is hashed, so that the hash covers all of the file but itself
SEAL = re.compile(rf"\x0a{chr(len(KEY))}{KEY}\x12\x40([0-9a-f]{{64}})".encode())  # as protobuf writes key and value

# For each message the numbers of its fields that are messages and may lead to tensors (onnx.proto)
MESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor
DEEPEST = 100  # nested messages, as many as protobuf's own readers allow
VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
SIZES = {FIXED_64: 8, FIXED_32: 4}


def seal(data: bytes) -> bytes:
    """The file with its hash in place of UNSEALED, the value of `KEY` in its metadata."""
    found = _seal(data)
    if found is None or found[1].decode() != UNSEALED:
        raise ValueError(f"the metadata do not contain one {KEY} with the value {UNSEALED}")
    return data[: found.start(1)] + sha256_bytes(data).encode() + data[found.end(1) :]


def refuse_changed(data: bytes, name: str) -> None:
    """`UserError` unless the file is, byte for byte, what `seal` returned."""
    found = _seal(data)
    if found is None:
        raise UserError(
            f"{name} was not written by `florafauna export`, or by an older version, or is incomplete; export it again."
        )
    if sha256_bytes(data[: found.start(1)] + UNSEALED.encode() + data[found.end(1) :]) != found[1].decode():
        raise UserError(f"{name} was changed after it was written (its seal differs); export it again.")


def refuse_external(data: bytes, name: str) -> None:
    """`UserError` if any weights are in other files, which onnxruntime would open without asking."""
    try:
        outside = _is_external(memoryview(data), "model", 0)
    except (ValueError, IndexError):
        raise UserError(f"{name} is not an ONNX file, or only part of one; export it again.") from None
    if outside:
        raise UserError(f"{name} refers to weights in other files, which is not allowed; export it again.")


def _seal(data: bytes) -> re.Match[bytes] | None:
    found = list(SEAL.finditer(data))
    return found[0] if len(found) == 1 else None


def _is_external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > DEEPEST:
        raise ValueError("too deep")
    inner = MESSAGES.get(kind, {})
    for number, value in _fields(message):
        if kind == "tensor":
            if number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0):
                return True
        elif number in inner and isinstance(value, memoryview) and _is_external(value, inner[number], depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of the fields; ValueError or IndexError if the message is damaged."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _varint(message, at)
        elif wire in SIZES:
            size = SIZES[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(message):
            raise ValueError("truncated")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("varint too long")
