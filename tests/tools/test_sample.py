"""The embedded sample is what its README says, and what its renderer draws."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tools.sample.make import SEED, SIDES
from tools.sample.scene import photograph
from tools.sample.species import SAMPLE, others


@pytest.fixture
def labels(repository: Path) -> pd.DataFrame:
    return pd.read_csv(repository / "data/sample/labels.csv", keep_default_na=False)


def test_twelve_species_of_45_to_60_pictures_in_8_mb(repository: Path, labels: pd.DataFrame) -> None:
    root = repository / "data/sample"
    counts = labels["species"].value_counts()
    assert set(counts.index) == {species.name for species in SAMPLE}
    assert sum(species.kind in ("flower", "leaf", "fern") for species in SAMPLE) == 6
    assert counts.between(45, 60).all()
    assert {path.relative_to(root).as_posix() for path in root.glob("*/*")} == set(labels["path"])
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) <= 8e6


def test_pictures_vary_in_size(repository: Path, labels: pd.DataFrame) -> None:
    sizes = set()
    for path in labels.loc[labels["path"].str.match(r".*/\d+\.jpg"), "path"]:
        with Image.open(repository / "data/sample" / path) as image:
            sizes.add(image.size)
    assert len(sizes) > 100
    assert min(map(min, sizes)) == SIDES[0] <= max(map(max, sizes)) <= SIDES[1]


def test_bursts_have_a_group_of_their_own(labels: pd.DataFrame) -> None:
    bursts = labels[labels["group"] != ""]
    assert bursts.groupby("group")["species"].nunique().eq(1).all()
    assert bursts.groupby("species")["group"].nunique().eq(2).all()
    assert bursts["group"].value_counts().between(3, 4).all()


@pytest.mark.parametrize("species", SAMPLE, ids=lambda species: species.name)
def test_a_committed_picture_is_what_the_renderer_draws(repository: Path, species: object) -> None:
    """But for JPEG: the second shot of the first individual."""
    drawn = np.asarray(photograph(species, 0, 1, SEED, *SIDES), dtype=float)  # type: ignore[arg-type]
    with Image.open(repository / "data/sample" / species.name / "001.jpg") as committed:  # type: ignore[attr-defined]
        assert np.abs(np.asarray(committed, dtype=float) - drawn).mean() < 8


def test_the_renderer_is_a_function_of_its_seed() -> None:
    first, again = (photograph(SAMPLE[0], 5, 0, 1, *SIDES) for _ in range(2))
    other = photograph(SAMPLE[0], 5, 0, 2, *SIDES)
    assert first.tobytes() == again.tobytes()
    assert (first.size, first.tobytes()) != (other.size, other.tobytes())


def test_the_species_pretrained_on_are_others() -> None:
    known = {(species.kind, str(sorted(species.traits.items()))) for species in SAMPLE}
    assert not known & {(species.kind, str(sorted(species.traits.items()))) for species in others(48, 7)}
