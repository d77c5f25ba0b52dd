"""Draw data/sample: python -m tools.sample.make. The same bytes every time, given the same Pillow and numpy."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tools.sample.scene import photograph
from tools.sample.species import SAMPLE, Species

OUT = Path("data/sample")
SEED = 2026
SIDES = (240, 480)
BURSTS = (3, 4)  # shots of the two individuals of a species that were photographed several times
README = """# The embedded sample

{count} files of 12 species, drawn by `python -m tools.sample.make` (seed {seed}): real photographs cannot be shipped
with a program. Six plants and six animals that do not exist; two butterflies, two beetles, two fish, two flowers and
two maples are hard pairs. `labels.csv` names path, species and, for shots of one individual, the `group`.

It contains on purpose what real folders contain:

| file | what it is | what becomes of it |
|---|---|---|
{oddities}
"""


def draw(out: Path = OUT) -> None:
    """Replace the folder `out`."""
    shutil.rmtree(out, ignore_errors=True)
    rows = [row for species in SAMPLE for row in _draw_species(species, out)]
    oddities = list(_add_oddities(out))
    rows += [(path, label, group) for path, label, group, _, _ in oddities]
    table = pd.DataFrame(rows, columns=["path", "species", "group"]).sort_values(["path", "species"])
    table.to_csv(out / "labels.csv", index=False, lineterminator="\n")
    lines = "\n".join(f"| `{path}` | {what} | {fate} |" for path, _, _, what, fate in oddities)
    (out / "README.md").write_text(
        README.format(count=len(table["path"].unique()), seed=SEED, oddities=lines), encoding="utf-8"
    )


def _draw_species(species: Species, out: Path) -> Iterator[tuple[str, str, str]]:
    rng = np.random.default_rng([SEED, *species.name.encode()])
    (out / species.name).mkdir(parents=True)
    shots = [*BURSTS, *[1] * int(rng.integers(39, 44))]
    number = 0
    for individual, count in enumerate(shots):
        for shot in range(count):
            picture = photograph(species, individual, shot, SEED, *SIDES)
            path = f"{species.name}/{number:03d}.jpg"
            picture.save(out / path, quality=int(rng.integers(55, 90)))
            yield path, species.name, f"{species.name}_{individual}" if count > 1 else ""
            number += 1


def _add_oddities(out: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """Path, label, group, what it is, and what becomes of it."""
    used = "used"
    aster, fern, beetle, fish = "violet_aster", "ladder_fern", "four_spot_leaf_beetle", "three_bar_darter"
    maple, duskwing = "creek_maple", "barred_duskwing"

    def picture(label: str, individual: int) -> Image.Image:
        species = next(species for species in SAMPLE if species.name == label)
        return photograph(species, individual, 0, SEED, *SIDES)

    def path(label: str, name: str) -> Path:
        return out / label / name

    path(aster, "truncated.jpg").write_bytes(_jpeg(picture(aster, 100))[:4000])
    yield f"{aster}/truncated.jpg", aster, "", "a JPEG cut off after 4,000 bytes", "quarantined: truncated"
    path(fern, "empty.jpg").write_bytes(b"")
    yield f"{fern}/empty.jpg", fern, "", "an empty file", "quarantined: empty"
    path(beetle, "notes.jpg").write_text("Beetle on the third fence post, photo to follow.\n", encoding="utf-8")
    yield f"{beetle}/notes.jpg", beetle, "", "a text file named .jpg", "quarantined: not_an_image"

    for orientation, turn in ((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = f"exif_{orientation}.jpg"
        picture(maple, 100 + orientation).transpose(turn).save(path(maple, name), quality=75, exif=exif)
        yield f"{maple}/{name}", maple, "", f"stored rotated, EXIF orientation {orientation}", f"{used}, upright"
    picture(fish, 100).convert("CMYK").save(path(fish, "cmyk.jpg"), quality=75)
    yield f"{fish}/cmyk.jpg", fish, "", "a CMYK JPEG", used
    picture(fern, 100).convert("L").save(path(fern, "grey.jpg"), quality=75)
    yield f"{fern}/grey.jpg", fern, "", "a greyscale JPEG", used
    cut_out = picture(aster, 101).resize((240, 240)).quantize(48).convert("RGBA")
    cut_out.putalpha(Image.radial_gradient("L").resize(cut_out.size).point(lambda value: 255 if value < 150 else 0))
    cut_out.save(path(aster, "cut_out.png"), optimize=True)
    yield f"{aster}/cut_out.png", aster, "", "an RGBA PNG with a transparent border", f"{used}, over white"
    picture(duskwing, 100).resize((240, 240)).quantize(32).save(path(duskwing, "palette.png"), optimize=True)
    yield f"{duskwing}/palette.png", duskwing, "", "a palette PNG", used

    shutil.copy(path(maple, "010.jpg"), path(maple, "copy_of_010.jpg"))
    yield f"{maple}/copy_of_010.jpg", maple, "", "an exact copy of 010.jpg", f"{used}, on the same side of the split"
    with Image.open(path(fish, "012.jpg")) as original:
        smaller = original.resize((original.width * 4 // 5, original.height * 4 // 5))
        smaller.save(path(fish, "012_web.jpg"), quality=50)
        original.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path(fish, "012_mirrored.jpg"), quality=70)
    yield f"{fish}/012_web.jpg", fish, "", "012.jpg scaled to 80 % and saved again", "used, same side as 012.jpg"
    yield f"{fish}/012_mirrored.jpg", fish, "", "012.jpg mirrored and saved again", "used, same side as 012.jpg"
    twice = _jpeg(picture("ringed_duskwing", 100))
    for label in ("ringed_duskwing", "barred_duskwing"):
        path(label, "disputed.jpg").write_bytes(twice)
        yield f"{label}/disputed.jpg", label, "", "the same picture under two labels", "quarantined: label_conflict"


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


if __name__ == "__main__":
    draw()
