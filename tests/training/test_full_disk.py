"""A full disk ends a stage in one sentence that says how much room there is, and leaves nothing half-written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.small_disk import small_disk
from helpers.tiny import Place, params

from florafauna.base.errors import one_sentence_on_error
from florafauna.model.settings import Architecture, Weights
from florafauna.model.weights import make_initial_weights

SENTENCE = "the disk is full; make room and run the same command again ("


def sentence_of(capsys: pytest.CaptureFixture[str], work: Callable[[], object]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended, one_sentence_on_error():
        work()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_training_says_it_and_goes_on_after_room_was_made(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = params("test_vit")
    with small_disk(tmp_path / "disk", "24m") as disk:
        (disk / "ballast").write_bytes(bytes(21 << 20))
        line = sentence_of(capsys, lambda: place.trained(disk, model))
        assert SENTENCE in line
        assert f"of 25 MB are free in {disk}" in line
        assert not list(disk.rglob("*.tmp"))
        assert not (disk / "model/training.json").exists()
        (disk / "ballast").unlink()
        assert (place.trained(disk, model) / "training.json").is_file()


def test_weights_and_evaluation_say_it(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = place.trained(tmp_path / "room", params("test_vit"))
    with small_disk(tmp_path / "disk", "100k") as disk:
        initial = disk / "initial.safetensors"
        work = lambda: make_initial_weights(Architecture(name="test_vit"), Weights(source="none"), initial)  # noqa: E731
        assert f"{initial}: {SENTENCE}" in sentence_of(capsys, work)
        assert SENTENCE in sentence_of(capsys, lambda: place.evaluated(trained, disk))
        assert not list(disk.rglob("*.safetensors"))
