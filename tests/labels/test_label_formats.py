"""The published formats, each on a small fixture written after its specification (tests/fixtures/formats)."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from helpers.photos_view import column, labels, reasons

from florafauna.base.errors import UserError
from florafauna.labels.read import FORMATS, read_photos

MakePhotos = Callable[..., Path]
Fixture = Callable[[str], Path]

COCO = ("cam1/1.jpg", "cam1/2.jpg", "cam2/1.jpg", "cam2/2.jpg", "cam2/3.jpg", "cam2/4.jpg")
INATURALIST_2021 = ("train_mini/00000_worm/1.jpg", "train_mini/00001_daisy/2.jpg")
LILA = ("cct_images/5968c0f9.jpg", "cct_images/59b5d0e1.jpg", "cct_images/5a0a1111.jpg", "images/2094.jpg")
CAMTRAP = (*(f"media/m{number}.jpg" for number in (1, 2, 3, 4, 5, 6, 8, 9)), "media/m7.mp4")
INSIGHTS = tuple(f"deployment/{'11' if number < 3 else '12'}/i-{number}.JPG" for number in range(1, 9))
TIMELAPSE = (
    "Station1/Deploy A/IMG_0001.JPG",
    *(f"Station2/IMG_000{number}.JPG" for number in range(1, 5)),
    "IMG_0005.JPG",
)

MACHINE = tuple(f"a/{number}.jpg" for number in range(1, 6))

XML = '<?xml version="1.0" encoding="UTF-8"?>'

CASES = {
    "coco_camera_traps.json": ("coco", COCO),
    "inaturalist_2021.json": ("coco", INATURALIST_2021),
    "inaturalist_export.csv": ("inaturalist", ("101.jpg", "102.jpg")),
    "inaturalist_open_data": ("inaturalist-open-data", ("photos/9001/medium.jpg", "photos/9003/medium.jpg")),
    "gbif": ("darwin-core", ("daisy-front.jpg", "sheet-77.jpg")),
    "camtrap_dp": ("camtrap-dp", CAMTRAP),
    "wildlife_insights": ("wildlife-insights", INSIGHTS),
    "lila.csv": ("lila", LILA),
    "timelapse.csv": ("timelapse", TIMELAPSE),
    "megadetector.json": ("megadetector", MACHINE),
    "speciesnet_results.json": ("speciesnet", MACHINE[:4]),
}


@pytest.mark.parametrize("name", CASES)
def test_auto_recognises_what_can_also_be_forced(make_photos: MakePhotos, fixture_of: Fixture, name: str) -> None:
    expected, paths = CASES[name]
    root, files = make_photos(*paths), fixture_of(name)
    photos = read_photos(root, files)
    assert photos.format == expected
    assert read_photos(root, files, expected).table.equals(photos.table)
    assert not photos.table.isna().any().any()
    assert not [name for name in photos.table.columns if name.startswith("_")]
    # every photo is used or listed, once
    assert sorted([*photos.table["path"], *photos.omitted["path"]]) == sorted(paths)


def test_every_format_has_a_fixture() -> None:
    assert {name for name, _ in CASES.values()} == set(FORMATS) - {"folder", "site/label", "label/site", "table"}


@pytest.mark.parametrize("name", CASES)
def test_a_zip_of_the_label_files_does_as_well(
    make_photos: MakePhotos, fixture_of: Fixture, tmp_path: Path, name: str
) -> None:
    root, files = make_photos(*CASES[name][1]), fixture_of(name)
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as archive:
        for path in sorted(files.iterdir()) if files.is_dir() else [files]:
            archive.write(path, f"export/{path.name}")
    assert read_photos(root, tmp_path / "labels.zip").table.equals(read_photos(root, files).table)


def test_coco_camera_traps(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    photos = read_photos(make_photos(*COCO), fixture_of("coco_camera_traps.json"))
    assert labels(photos) == {"cam1/1.jpg": "deer", "cam1/2.jpg": "fox"}
    assert column(photos, "weak") == {"cam1/1.jpg": "", "cam1/2.jpg": "event"}
    assert column(photos, "location") == {"cam1/1.jpg": "26", "cam1/2.jpg": "26"}
    assert column(photos, "sequence")["cam1/1.jpg"] == "s1"
    assert column(photos, "datetime")["cam1/1.jpg"] == "2013-10-04T13:31:53"
    assert reasons(photos) == {
        "cam2/1.jpg": "no_animal", "cam2/2.jpg": "label_conflict", "cam2/3.jpg": "corrupt", "cam2/4.jpg": "no_label",
    }  # fmt: skip


def test_inaturalist_2021(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root, files = make_photos(*INATURALIST_2021), fixture_of("inaturalist_2021.json")
    photos = read_photos(root, files)
    assert list(photos.table["label"]) == ["Lumbricus terrestris", "Bellis perennis"]
    assert photos.table.loc[0, ["class", "licence", "datetime", "latitude"]].tolist() == [
        "Clitellata", "CC BY-NC", "2018-04-12T10:41:23+00:00", "43.5",
    ]  # fmt: skip
    assert photos.table.loc[1, ["licence", "datetime", "latitude"]].tolist() == ["No Rights Reserved", "", ""]
    assert list(read_photos(root, files, rank="family").table["label"]) == ["Lumbricidae", "Asteraceae"]


def test_coco_without_licences(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    files = fixture_of("inaturalist_2021.json")
    files.write_text(json.dumps(json.loads(files.read_text()) | {"licenses": None}))
    assert len(read_photos(make_photos(*INATURALIST_2021), files).table) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: document.pop("categories"), "has no list of categories"),
        (
            lambda document: document["annotations"][0].update(image_id="im99"),
            "image_id 'im99', which is not in the file",
        ),
        (lambda document: document["images"][0].update(id="im2"), "two images have the id 'im2'"),
        (lambda document: document["images"][0].update(file_name=None), "image 'im1' has no file_name"),
        (lambda document: document["images"][0].update(file_name="../1.jpg"), "points outside"),
    ],
)
def test_a_broken_coco_file(
    make_photos: MakePhotos, fixture_of: Fixture, change: Callable[[dict], None], message: str
) -> None:
    files = fixture_of("coco_camera_traps.json")
    document = json.loads(files.read_text())
    change(document)
    files.write_text(json.dumps(document))
    with pytest.raises(UserError, match=message):
        read_photos(make_photos(*COCO), files, "coco")


@pytest.mark.parametrize(
    "paths",
    [
        ("101.jpg", "102.png", "103.jpg", "999.jpg"),  # observation
        ("101_1.jpg", "102-1.jpg", "103 1.jpg", "999_1.jpg"),
        ("9001.jpg", "9002.jpg", "9003.jpg", "9999.jpg"),  # photo
        ("x/9001/large.jpg", "x/9002/large.jpg", "x/9003/large.jpg", "x/9999/large.jpg"),
        ("photos/9001/medium.jpg", "photos/9002/medium.jpg", "photos/9003/medium.jpg", "photos/9999/medium.jpg"),  # URL
    ],
)
def test_inaturalist_export(make_photos: MakePhotos, fixture_of: Fixture, paths: tuple[str, ...]) -> None:
    photos = read_photos(make_photos(*paths), fixture_of("inaturalist_export.csv"))
    assert labels(photos) == {paths[0]: "Danaus plexippus", paths[1]: "Limenitis archippus"}
    assert photos.table.loc[0, ["occurrence", "observer", "datetime", "licence"]].tolist() == [
        "101", "7", "2019-05-04T15:33:12+00:00", "CC-BY-NC",
    ]  # fmt: skip
    assert column(photos, "datetime")[paths[1]] == "2019-05-05"
    omitted = photos.omitted.set_index("path")
    assert omitted.loc[paths[2], "reason"] == "no_label"
    assert omitted.loc[paths[2], "detail"] == "no species given, only Limenitis"
    assert omitted.loc[paths[3], "reason"] == "unlisted"
    assert "1 of 4 rows have no photo below the root" in photos.notes


def test_one_rule_matches_all_photos_of_a_set(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    # 101.jpg could be observation 101; where photo numbers find more files, it is photo 101, which no row has
    photos = read_photos(make_photos("9001.jpg", "9002.jpg", "101.jpg"), fixture_of("inaturalist_export.csv"))
    assert list(labels(photos)) == ["9001.jpg", "9002.jpg"]
    assert reasons(photos) == {"101.jpg": "unlisted"}
    assert "photos were matched to their rows by photo as the file name" in photos.notes


@pytest.mark.parametrize("pattern", ["photos/{}/original.jpg", "{}.jpg", "download/{}_large.jpeg"])
def test_inaturalist_open_data(make_photos: MakePhotos, fixture_of: Fixture, pattern: str) -> None:
    paths = [pattern.format(number) for number in (9001, 9002, 9003, 9004)]
    root, files = make_photos(*paths), fixture_of("inaturalist_open_data")
    photos = read_photos(root, files)
    assert labels(photos) == dict(zip(paths, ["Danaus plexippus"] * 2 + ["Bellis perennis"], strict=False))
    assert list(photos.table["occurrence"]) == ["o-1", "o-1", "o-2"]
    assert photos.table.loc[0, ["observer", "class", "genus", "licence"]].tolist() == [
        "7",
        "Insecta",
        "Danaus",
        "CC-BY-NC",
    ]
    assert reasons(photos) == {paths[3]: "no_label"}
    assert photos.omitted.loc[0, "label"] == ""
    assert labels(read_photos(root, files, rank="kingdom"))[paths[3]] == "Plantae"
    assert labels(read_photos(root, files, rank="label"))[paths[3]] == 'Angiospermae "flowering plants"'
    assert labels(read_photos(root, files / "photos.csv")) == labels(photos)


@pytest.mark.parametrize(
    "paths",
    [
        ("daisy-front.jpg", "x/daisy-back.jpg", "sheet-77.jpg", "lawn.jpg"),
        ("4001_1.jpg", "4001_2.jpg", "4002_1.jpg", "4003_1.jpg"),
        ("4001/a.jpg", "4001/b.jpg", "4002/a.jpg", "4003/a.jpg"),
    ],
)
def test_darwin_core_archive(make_photos: MakePhotos, fixture_of: Fixture, paths: tuple[str, ...]) -> None:
    root, files = make_photos(*paths), fixture_of("gbif")
    photos = read_photos(root, files)
    assert labels(photos) == dict.fromkeys(sorted(paths[:2]), "Bellis perennis")
    row = photos.table.loc[0]
    assert row[["occurrence", "observer", "datetime", "kingdom", "family", "licence"]].tolist() == [
        "4001", "Ana", "2021-05-04", "Plantae", "Asteraceae", "CC BY 4.0",
    ]  # fmt: skip
    assert dict(zip(photos.omitted["path"], photos.omitted["detail"], strict=True)) == {
        paths[2]: "no species given, only Taraxacum F.H.Wigg.",
        paths[3]: "recorded as absent",
    }
    assert labels(read_photos(root, files, rank="genus"))[paths[2]] == "Taraxacum"
    assert labels(read_photos(root, files / "meta.xml")) == labels(photos)


def test_meta_xml_is_authoritative(make_photos: MakePhotos, tmp_path: Path) -> None:
    """Delimiter, quotes, order of columns and missing header are what meta.xml says, not what the file looks like."""
    archive = tmp_path / "dwca"
    archive.mkdir()
    (archive / "records.dat").write_text(
        "'Puma concolor, Linnaeus'|SPECIES|http://x.org/a.jpg | http://x.org/b.jpg|1\n"
    )
    (archive / "meta.xml").write_text(
        """<archive xmlns="http://rs.tdwg.org/dwc/text/"><core rowType="http://rs.tdwg.org/dwc/terms/Occurrence"
        fieldsTerminatedBy="|" fieldsEnclosedBy="'"><files><location>records.dat</location></files><id index="4"/>
        <field index="0" term="http://rs.tdwg.org/dwc/terms/scientificName"/>
        <field index="1" term="http://rs.tdwg.org/dwc/terms/taxonRank"/>
        <field index="2" term="http://rs.tdwg.org/dwc/terms/associatedMedia"/></core></archive>"""
    )
    (archive / "records.dat").write_text(
        "'Puma concolor, Linnaeus'|SPECIES|'http://x.org/a.jpg | http://x.org/b.jpg'||1\n"
    )
    photos = read_photos(make_photos("a.jpg", "b.jpg"), archive)
    assert labels(photos) == {"a.jpg": "Puma concolor", "b.jpg": "Puma concolor"}
    assert column(photos, "occurrence") == {"a.jpg": "1", "b.jpg": "1"}


def test_occurrences_of_an_event_label_its_media_weakly(make_photos: MakePhotos, tmp_path: Path) -> None:
    archive = tmp_path / "dwca"
    archive.mkdir()
    (archive / "event.csv").write_text("eventID,eventDate\nE1,2020-01-02\n")
    (archive / "occurrence.csv").write_text(
        "eventID,occurrenceID,scientificName,genus,specificEpithet\nE1,o1,Alces alces,Alces,alces\n"
    )
    (archive / "media.csv").write_text("eventID,identifier\nE1,http://x.org/a.jpg\nE1,http://x.org/b.jpg\n")
    terms = "http://rs.tdwg.org/dwc/terms/"
    node = '<{0} ignoreHeaderLines="1" rowType="{1}"><files><location>{2}</location></files><{3} index="0"/>{4}</{0}>'
    names = ("occurrenceID", "scientificName", "genus", "specificEpithet")
    fields = "".join(f'<field index="{index}" term="{terms}{name}"/>' for index, name in enumerate(names, 1))
    (archive / "meta.xml").write_text(
        '<archive xmlns="http://rs.tdwg.org/dwc/text/">'
        + node.format("core", terms + "Event", "event.csv", "id", f'<field index="1" term="{terms}eventDate"/>')
        + node.format("extension", terms + "Occurrence", "occurrence.csv", "coreid", fields)
        + node.format("extension", "http://rs.gbif.org/terms/1.0/Multimedia", "media.csv", "coreid",
                      '<field index="1" term="http://purl.org/dc/terms/identifier"/>')
        + "</archive>"
    )  # fmt: skip
    photos = read_photos(make_photos("a.jpg", "b.jpg"), archive)
    assert labels(photos) == {"a.jpg": "Alces alces", "b.jpg": "Alces alces"}
    assert photos.table.loc[0, ["weak", "sequence", "datetime"]].tolist() == ["event", "E1", "2020-01-02"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (XML, '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "a document type"),
        (XML, '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]>', "a document type"),
        ("</archive>", "", "is not XML"),
        ("occurrence.txt", "../occurrence.txt", "names ../occurrence.txt, which is not there"),
        ("multimedia.txt", "https://x.org/multimedia.txt", "must name one file"),
        ('encoding="UTF-8" fieldsTerminatedBy', 'encoding="ISO-8859-1" fieldsTerminatedBy', "save .* as UTF-8"),
        ('index="12"', 'index="99"', "has 13 columns, but .*meta.xml describes column 99"),
        ('index="12"', 'index="x"', "has 'x' where an index is needed"),
        ("<core", "<kern", "is not XML|describes no core"),
    ],
)  # fmt: skip
def test_a_broken_or_hostile_meta_xml(
    make_photos: MakePhotos, fixture_of: Fixture, old: str, new: str, message: str
) -> None:
    files = fixture_of("gbif")
    meta = files / "meta.xml"
    meta.write_text(meta.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        read_photos(make_photos("4001.jpg"), files)


def test_camtrap_dp(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root, files = make_photos(*CAMTRAP), fixture_of("camtrap_dp")
    photos = read_photos(root, files)
    assert labels(photos) == {
        "media/m1.jpg": "Anas platyrhynchos",  # of the event
        "media/m3.jpg": "Anas platyrhynchos",  # of the event, though its time is given in another zone
        "media/m4.jpg": "Rattus norvegicus",  # a person's, not the machine's
        "media/m9.jpg": "Rattus norvegicus",  # the machine's, for want of another
    }
    assert list(photos.table["weak"]) == ["event", "event", "", "machine"]
    assert list(photos.table["location"]) == ["loc1", "loc1", "loc1", "dep2"]
    assert list(photos.table["sequence"]) == ["e1", "e1", "e2", "e6"]
    assert photos.table.loc[2, ["individual", "latitude", "datetime", "class"]].tolist() == [
        "R7", "51.181", "2020-05-30T02:57:45+00:00", "Mammalia",
    ]  # fmt: skip
    assert reasons(photos) == {
        "media/m2.jpg": "no_animal",  # its own observation says blank, whatever the event says
        "media/m5.jpg": "no_animal",
        "media/m6.jpg": "no_label",  # a genus
        "media/m7.mp4": "not_a_photo",
        "media/m8.jpg": "no_label",
    }
    assert labels(read_photos(root, files, rank="family"))["media/m6.jpg"] == "Ardeidae"
    assert labels(read_photos(root, files / "datapackage.json")) == labels(photos)


def test_an_event_without_an_end_does_not_label_all_that_follows(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    files = fixture_of("camtrap_dp")
    observations = pd.read_csv(files / "observations.csv", dtype=str, keep_default_na=False)
    observations.assign(eventEnd="").to_csv(files / "observations.csv", index=False)
    found = labels(read_photos(make_photos(*CAMTRAP), files))
    assert found["media/m1.jpg"] == "Anas platyrhynchos"
    assert "media/m3.jpg" not in found


def test_camtrap_dp_with_its_media(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root = make_photos(*CAMTRAP)
    shutil.copytree(fixture_of("camtrap_dp"), root, dirs_exist_ok=True)
    photos = read_photos(root, root)
    assert (photos.format, len(photos.table)) == ("camtrap-dp", 4)


def test_camtrap_dp_with_media_on_a_server(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    files = fixture_of("camtrap_dp")
    media = files / "media.csv"
    media.write_text(
        media.read_text()
        .replace("media/m1.jpg", "https://x.org/m1/file")
        .replace("media/m4.jpg", "https://x.org/m4/file")
    )
    photos = read_photos(make_photos("m1.jpg", "deep/m4.jpg", "media/m9.jpg"), files)
    assert labels(photos) == {
        "deep/m4.jpg": "Rattus norvegicus", "m1.jpg": "Anas platyrhynchos", "media/m9.jpg": "Rattus norvegicus",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("camtrap-dp/1.0/camtrap", "camtrap-dp/0.6/camtrap", "an early draft of Camtrap DP"),
        ('"path": "media.csv"', '"path": "../media.csv"', "'../media.csv' of media points outside the package"),
        ('"path": "media.csv"', '"path": "https://x.org/media.csv"', "names no file for media"),
        ('"path": "media.csv"', '"path": "medium.csv"', "names medium.csv for media, which is not there"),
        ('"resources"', '"sources"', "has no list of resources"),
        ("{", "[", "is not valid JSON"),
    ],
)
def test_a_broken_camtrap_dp(make_photos: MakePhotos, fixture_of: Fixture, old: str, new: str, message: str) -> None:
    files = fixture_of("camtrap_dp")
    package = files / "datapackage.json"
    package.write_text(package.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        read_photos(make_photos(*CAMTRAP), files)


def test_wildlife_insights(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root, files = make_photos(*INSIGHTS), fixture_of("wildlife_insights")
    photos = read_photos(root, files)
    # i-1 has two rows of one species under two common names
    assert labels(photos) == {INSIGHTS[0]: "Cervus canadensis", INSIGHTS[3]: "Puma concolor"}
    assert list(photos.table["location"]) == ["Ridge", "Creek"]
    assert list(photos.table["weak"]) == ["", "machine"]
    assert photos.table.loc[0, ["latitude", "datetime", "family", "licence"]].tolist() == [
        "44.6", "2019-07-01T10:00:00", "Cervidae", "CC-BY",
    ]  # fmt: skip
    omitted = {path.rpartition("/")[2]: reason for path, reason in reasons(photos).items()}
    assert omitted == {
        "i-2.JPG": "no_animal", "i-3.JPG": "no_label", "i-5.JPG": "no_animal", "i-6.JPG": "label_conflict",
        "i-7.JPG": "no_animal", "i-8.JPG": "no_label",
    }  # fmt: skip
    assert set(photos.omitted.loc[photos.omitted["reason"] == "no_animal", "label"]) == {"blank", "human", "vehicle"}
    by_family = labels(read_photos(root, files, rank="family"))
    assert by_family[INSIGHTS[2]] == "Cervidae"
    assert labels(read_photos(root, files / "images_2001.csv")) == labels(photos)


def test_wildlife_insights_by_the_cameras_file_names(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    files = fixture_of("wildlife_insights")
    photos = read_photos(make_photos("D1/IMG_0001.JPG", "D2/IMG_0001.JPG", "D2/IMG_0002.JPG"), files)
    assert labels(photos) == {"D1/IMG_0001.JPG": "Cervus canadensis", "D2/IMG_0002.JPG": "Puma concolor"}
    # the name alone is that of two photos, so it says nothing
    with pytest.raises(UserError, match=r"no photo with a label is left .*10 of 10 rows have no photo"):
        read_photos(make_photos("IMG_0001.JPG", root="flat"), files)


def test_lila(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root, files = make_photos(*LILA), fixture_of("lila.csv")
    photos = read_photos(root, files)
    assert labels(photos) == {"cct_images/5968c0f9.jpg": "canis latrans"}
    assert photos.table.loc[0, ["location", "sequence", "weak", "datetime", "order"]].tolist() == [
        "Caltech Camera Traps : 26", "Caltech Camera Traps : 6f04895c", "event", "2013-10-04T13:31:53", "carnivora",
    ]  # fmt: skip
    assert reasons(photos) == {
        "cct_images/59b5d0e1.jpg": "no_animal", "cct_images/5a0a1111.jpg": "no_label",
        "images/2094.jpg": "label_conflict",
    }  # fmt: skip
    assert "1 of 6 rows have no photo below the root" in photos.notes
    by_class = read_photos(root, files, rank="class")
    assert labels(by_class)["cct_images/5a0a1111.jpg"] == "aves"
    assert labels(by_class)["images/2094.jpg"] == "mammalia"  # two species, one class
    assert column(by_class, "species")["images/2094.jpg"] == ""
    assert column(by_class, "location")["images/2094.jpg"] == ""  # unknown sites are not one site


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith(".csv")])
def test_a_table_without_rows(make_photos: MakePhotos, fixture_of: Fixture, name: str) -> None:
    files = fixture_of(name)
    files.write_text(files.read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match="no photo with a label is left"):
        read_photos(make_photos("a.jpg"), files)


@pytest.mark.parametrize("name", CASES)
def test_a_root_without_photos(make_photos: MakePhotos, fixture_of: Fixture, name: str) -> None:
    root = make_photos()
    (root / "notes.txt").write_text("no photo")
    with pytest.raises(UserError, match=r"none of the \d+ photos|no photo with a label is left"):
        read_photos(root, fixture_of(name))


def test_timelapse(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    photos = read_photos(make_photos(*TIMELAPSE), fixture_of("timelapse.csv"))
    assert labels(photos) == {
        "IMG_0005.JPG": "Elk", "Station1/Deploy A/IMG_0001.JPG": "Elk", "Station2/IMG_0001.JPG": "Deer",
    }  # fmt: skip
    assert column(photos, "Note")["Station1/Deploy A/IMG_0001.JPG"] == "two lines\nin one note"
    assert column(photos, "datetime")["IMG_0005.JPG"] == "2021-06-01T06:12:04"
    assert reasons(photos) == {
        "Station2/IMG_0002.JPG": "deleted", "Station2/IMG_0003.JPG": "no_animal", "Station2/IMG_0004.JPG": "no_label",
    }  # fmt: skip


def test_megadetector(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    photos = read_photos(make_photos(*MACHINE), fixture_of("megadetector.json"))
    assert labels(photos) == {"a/1.jpg": "deer"}
    assert column(photos, "weak") == {"a/1.jpg": "machine"}
    assert dict(zip(photos.omitted["path"], photos.omitted["detail"], strict=True)) == {
        "a/2.jpg": "shows human, no animal", "a/3.jpg": "shows blank, no animal",
        "a/4.jpg": "an animal that was not classified", "a/5.jpg": "the label is empty",
    }  # fmt: skip
    assert "what a machine saw; 5 of 5 rows found" in photos.notes[0]


def test_speciesnet(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root, files = make_photos(*MACHINE[:4]), fixture_of("speciesnet_results.json")
    photos = read_photos(root, files)
    assert labels(photos) == {"a/1.jpg": "lynx rufus"}
    assert column(photos, "weak") == {"a/1.jpg": "machine"}
    assert reasons(photos) == {"a/2.jpg": "no_animal", "a/3.jpg": "no_label", "a/4.jpg": "no_label"}
    assert set(read_photos(root, files, rank="family").table["label"]) == {"felidae"}


def test_results_of_a_machine_do_not_replace_folder_names(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    root = make_photos("a/1.jpg", "b/1.jpg")
    shutil.copy(fixture_of("megadetector.json"), root)
    photos = read_photos(root, root)
    assert set(photos.table["label"]) == {"a", "b"}
    assert any("megadetector.json has a machine's labels" in note for note in photos.notes)


def test_several_coco_files(make_photos: MakePhotos, fixture_of: Fixture, tmp_path: Path) -> None:
    root = make_photos("images/train2017/a.jpg", "images/val2017/b.jpg")
    document = json.loads(fixture_of("coco_camera_traps.json").read_text())
    deer = next(category["id"] for category in document["categories"] if category["name"] == "deer")
    folder = tmp_path / "annotations"
    folder.mkdir()
    for split, name in (("train", "a.jpg"), ("val", "b.jpg")):
        image = {"id": 1, "file_name": name}
        annotation = {"id": 1, "image_id": 1, "category_id": deer}
        part = document | {"images": [image], "annotations": [annotation]}
        (folder / f"instances_{split}2017.json").write_text(json.dumps(part))
    photos = read_photos(root, folder)
    assert set(photos.table["label"]) == {"deer"}
    assert list(photos.table["split"]) == ["train", "val"]
    shutil.copy(folder / "instances_train2017.json", folder / "other.json")
    with pytest.raises(UserError, match=r"several label files, instances_train2017\.json and other\.json"):
        read_photos(root, folder)


def test_a_path_column_makes_any_export_a_table(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    files = fixture_of("inaturalist_export.csv")
    lines = files.read_text().splitlines()
    files.write_text(
        "\n".join([f"path,{lines[0]}", *(f"x{number}.jpg,{line}" for number, line in enumerate(lines[1:]))])
    )
    photos = read_photos(make_photos("x0.jpg", "x1.jpg"), files)
    assert (photos.format, labels(photos)["x1.jpg"]) == ("table", "Limenitis archippus")
