"""What is not the program's fault ends in one sentence."""

from pathlib import Path

import pytest

from florafauna.base.errors import one_sentence_on_error
from florafauna.base.files import write_atomic


@pytest.mark.parametrize("below", ["features", "features/complete.json"])
def test_a_file_where_a_folder_has_to_be_is_named(
    tmp_path: Path, below: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a file named .florafauna/features would be, for a training."""
    (tmp_path / "features").write_text("a file\n")
    with pytest.raises(SystemExit) as ended, one_sentence_on_error():
        write_atomic(tmp_path / below / "0.bin", b"")
    assert ended.value.code == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert "features" in said
    assert "a file lies where a folder has to be" in said
