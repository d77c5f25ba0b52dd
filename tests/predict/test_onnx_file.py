"""An exported file is run as it was written, or not at all; it opens no other file."""

from pathlib import Path

import pytest

from florafauna.base.errors import UserError
from florafauna.commands.cli import main
from florafauna.predict._onnx_file import KEY, UNSEALED, refuse_changed, refuse_external, seal

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")


@pytest.fixture(scope="module")
def exported(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("onnx") / "newts.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(file.parent)
        assert main(["export", "--onnx", "--bundle", str(bundle), "--out", str(file)]) == 0
    return file


def sealed_anew(model: "onnx.ModelProto") -> bytes:
    """As somebody would do who knows how."""
    for each in model.metadata_props:
        if each.key == KEY:
            each.value = UNSEALED
    return seal(model.SerializeToString())


def refused(file: Path, photos: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """What `predict` says of the file."""
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(photos), "--bundle", str(file), "--out", str(file.with_name("o.csv"))])
    assert ended.value.code == 1
    said = capfd.readouterr().err
    assert len(said.splitlines()) == 1
    return said


def test_a_flipped_weight_is_refused(
    exported: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = onnx.load(exported).graph.initializer
    raw = max((each.raw_data for each in weights), key=len)
    data = bytearray(exported.read_bytes())
    data[data.index(raw) + len(raw) // 2] ^= 0x40
    (tmp_path / "flipped.onnx").write_bytes(data)
    assert "was changed after it was written" in refused(tmp_path / "flipped.onnx", photos, capfd)


def test_every_byte_counts(exported: Path) -> None:
    data = exported.read_bytes()
    refuse_changed(data, "whole")
    for at in range(0, len(data), len(data) // 200):
        flipped = bytearray(data)
        flipped[at] ^= 1
        with pytest.raises(UserError):
            refuse_changed(bytes(flipped), "flipped")
    for end in (0, 1, len(data) // 2, len(data) - 1):
        with pytest.raises(UserError):
            refuse_changed(data[:end], "cut")
    with pytest.raises(UserError):
        refuse_changed(data + b"\0", "longer")


@pytest.mark.parametrize("where", ["initializer", "attribute", "location only"])
def test_weights_outside_of_the_file_are_refused_though_the_seal_is_right(
    exported: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], where: str
) -> None:
    model = onnx.load(exported)
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    if where == "attribute":
        branch = onnx.helper.make_graph([], "branch", [], [])
        branch.initializer.append(tensor)
        model.graph.node[0].attribute.append(onnx.helper.make_attribute("inner", branch))
        tensor = model.graph.node[0].attribute[-1].g.initializer[0]
    if where == "location only":
        tensor.data_location = onnx.TensorProto.EXTERNAL
    else:
        (tmp_path / "secret").write_bytes(tensor.raw_data)
        onnx.external_data_helper.set_external_data(tensor, str(tmp_path / "secret"))
        tensor.ClearField("raw_data")
    (tmp_path / "outside.onnx").write_bytes(sealed_anew(model))
    assert "refers to weights in other files" in refused(tmp_path / "outside.onnx", photos, capfd)


def test_odd_bytes_are_a_sentence() -> None:
    for data in (b"\x07", b"\x3a\xff", b"\x3a" + b"\xff" * 11, b"\x3a\x05\x2a", b"\x3b"):
        with pytest.raises(UserError, match="not an ONNX file"):
            refuse_external(data, "odd")
    deep = b""
    for tag in [*[b"\x32", b"\x2a", b"\x0a"] * 300, b"\x3a"]:  # graphs in attributes of nodes of the model's graph
        size, length = len(deep), b""
        while size >= 0x80:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        deep = tag + length + bytes([size]) + deep
    with pytest.raises(UserError, match="not an ONNX file"):
        refuse_external(deep, "deep")
