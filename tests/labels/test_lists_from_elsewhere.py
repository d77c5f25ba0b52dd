"""Lists that were written elsewhere: paths of another computer, in other spelling, by bare names and identifiers."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.photos_view import column, labels, reasons

from florafauna.base.errors import UserError
from florafauna.labels.read import Photos, read_photos

MakePhotos = Callable[..., Path]
Write = Callable[..., Path]
Fixture = Callable[[str], Path]


def said(photos: Photos, words: str) -> bool:
    return any(words in note for note in photos.notes)


@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("d/a.jpg", "d/A.JPG"), ("d/a.jpg", "D/a.jpg"), ("d/a.jpeg", "d/a.jpg"), ("d/a.JPG", "d/a.jpeg"),
        ("d/a.jpg", " d/a.jpg "), ("d/a.jpg", "d /a.jpg"), ("d/a.jpg ", "d/a.jpg"),
        (unicodedata.normalize("NFD", "d/äö.jpg"), unicodedata.normalize("NFC", "d/äö.jpg")),
        (unicodedata.normalize("NFC", "d/äö.jpg"), unicodedata.normalize("NFD", "d/äö.jpg")),
    ],
)  # fmt: skip
def test_names_in_another_spelling(make_photos: MakePhotos, label_file: Write, file: str, row: str) -> None:
    root = make_photos(file.strip(), "d/b.jpg")
    photos = read_photos(root, label_file(f'path,label\n"{row}",deer\nd/b.jpg,fox\n'))
    assert labels(photos) == {file.strip(): "deer", "d/b.jpg": "fox"}
    assert photos.omitted.empty
    assert said(photos, "1 paths differ from the photos' in case, form or extension") or file.strip() == row


def test_a_spelling_that_fits_several_photos_fits_none(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("a.jpg", "A.jpg", "b.jpg")
    photos = read_photos(root, label_file("path,label\na.JPG,deer\nb.jpg,fox\n"))
    assert labels(photos) == {"b.jpg": "fox"}
    assert reasons(photos)["a.JPG"] == "missing_file"
    assert said(photos, "1 listed photos are not there ('a.JPG') and 2 that are there are not listed ('A.jpg')")
    # nor does a photo belong to two rows
    root = make_photos("c.jpg", "b.jpg", root="other")
    photos = read_photos(root, label_file("path,label\nc.jpg,deer\nC.JPG,elk\nb.jpg,fox\n"))
    assert labels(photos) == {"c.jpg": "deer", "b.jpg": "fox"}


@pytest.mark.parametrize(
    "start",
    ["C:\\Users\\ana\\photos\\", "/home/ana/photos/", "\\\\nas\\share\\photos\\", "D:/", "photos/", "data/raw/"],
)
def test_paths_of_another_computer(make_photos: MakePhotos, label_file: Write, start: str) -> None:
    root = make_photos("north/a.jpg", "north/b.JPG", "south/c.jpg", root="here")
    rows = "".join(f"{start}{path},deer\n" for path in ("north/a.jpg", "north/b.jpg", "south/c.jpg", "south/gone.jpg"))
    photos = read_photos(root, label_file("path,label\n" + rows))
    assert list(photos.table["path"]) == ["north/a.jpg", "north/b.JPG", "south/c.jpg"]
    assert reasons(photos) == {"south/gone.jpg": "missing_file"}
    assert said(photos, "was taken off the paths")


def test_the_longest_beginning_that_leaves_photos_is_taken_off(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("north/a.jpg", "north/b.jpg")
    photos = read_photos(root, label_file("path,label\n/x/north/a.jpg,deer\n/x/north/b.jpg,fox\n"))
    assert labels(photos) == {"north/a.jpg": "deer", "north/b.jpg": "fox"}
    assert said(photos, "'/x/' was taken off")


def test_another_spelling_wins_over_another_folder(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("deer/a.jpg", "a.jpg")
    assert labels(read_photos(root, label_file("path,label\nDeer/a.JPG,x\n"))) == {"deer/a.jpg": "x"}


def test_a_photo_of_another_folder_is_not_taken_for_a_missing_one(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("a.jpg", "south/b.jpg", "c/d.jpg")
    photos = read_photos(root, label_file("path,label\na.jpg,deer\nnorth/b.jpg,elk\nd.jpg,fox\n"))
    assert labels(photos) == {"a.jpg": "deer"}


@pytest.mark.parametrize(
    ("header", "row", "file"),
    [
        ("image_id,label", "Train_0,rust", "images/Train_0.jpg"),
        ("id,breed", "000bec18,rust", "train/000bec18.jpg"),
        ("image,species", "00021adf.jpg,rust", "train_images/00021adf.jpg"),
        ("gbifID,species", "4001,rust", "photos/4001_1.jpg"),
        ("filename,label", "north/a.jpg,rust", "images/north/a.jpg"),
        ("class id,filepaths,labels,data set", "0,x/RUST/1.jpg,rust,train", "x/RUST/1.jpg"),
        ("image,id,choice,annotator", "/data/upload/1/0f3a99bc-IMG_1.jpg,1,rust,1", "IMG_1.jpg"),
        ("image,id,choice", "/data/local-files/?d=site%201/IMG_1.jpg,1,rust", "site 1/IMG_1.jpg"),
    ],
)  # fmt: skip
def test_photos_by_bare_name_or_identifier(
    make_photos: MakePhotos, label_file: Write, header: str, row: str, file: str
) -> None:
    root = make_photos(file, "other/none.jpg")
    photos = read_photos(root, label_file(f"{header}\n{row}\n"))
    assert labels(photos) == {file: "rust"}
    assert reasons(photos) == {"other/none.jpg": "unlisted"}


def test_a_name_of_several_photos_is_that_of_none(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("train/1.jpg", "test/1.jpg", "train/2.jpg")
    for header in ("id,label\n1,a\n2,b\n", "image,label\n1.jpg,a\n2.jpg,b\n"):
        assert labels(read_photos(root, label_file(header))) == {"train/2.jpg": "b"}


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("relative_path,label", "d/a.jpg,x"), ("Directory,FileName,label", "d,a.jpg,x"),
        ("filepaths,label", "d/a.jpg,x"),
        ("img_path,label", "d/a.jpg,x"), ("image_name,label", "d/a.jpg,x"), ("file,label", "d/a.jpg,x"),
        ("File Name,Label", "d/a.jpg,x"), ("filename,filepath,label", "1.tif,d/a.jpg,x"),
        ("filename,filepath,label", "d/a.jpg,1.tif,x"), ("image,file_path,label", "5,/y/d/a.jpg,x"),
    ],
)  # fmt: skip
def test_the_column_that_names_photos_is_that_of_the_paths(
    make_photos: MakePhotos, label_file: Write, header: str, row: str
) -> None:
    photos = read_photos(make_photos("d/a.jpg", "d/b.jpg"), label_file(f"{header}\n{row}\n"))
    assert labels(photos) == {"d/a.jpg": "x"}


def test_two_columns_of_sites_are_left_as_they_are(make_photos: MakePhotos, label_file: Write) -> None:
    photos = read_photos(make_photos("a.jpg"), label_file("path,label,site,camera\na.jpg,x,S,C\n"))
    assert photos.table.to_dict("records") == [{"path": "a.jpg", "label": "x", "site": "S", "camera": "C"}]
    assert said(photos, "'site' and 'camera' of")


def test_category_numbers_have_names_in_a_json_beside_them(make_photos: MakePhotos, label_file: Write) -> None:
    label_file('{"categories": [{"id": 0, "name": "empty"}, {"id": 3, "name": "deer"}]}', "categories.json")
    text = "category_id,date_captured,file_name,frame_num,id,location\n3,2011-05-13 23:43:18,a.jpg,1,x,46\n"
    photos = read_photos(make_photos("a.jpg"), label_file(text))
    assert labels(photos) == {"a.jpg": "deer"}
    assert column(photos, "datetime") == {"a.jpg": "2011-05-13T23:43:18"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (("01-Jun-2021 05:06:07", "30-Dec-2021"), ("2021-06-01T05:06:07", "2021-12-30")),
        (("30.05.2020", "01.06.2020 7:08"), ("2020-05-30", "2020-06-01T07:08")),
        (("1/6/2020", "30/5/2020"), ("2020-06-01", "2020-05-30")),
        (("6/1/20 7:08", "5/30/20"), ("2020-06-01T07:08", "2020-05-30")),
        (("6/1/20", "1/6/20"), ("", "")),
        (("13/1/20", "1/13/20"), ("", "")),
    ],
)
def test_times_whose_order_all_rows_decide(
    make_photos: MakePhotos, label_file: Write, written: tuple[str, str], expected: tuple[str, str]
) -> None:
    rows = "".join(f"{name},x,{time}\n" for name, time in zip(("a.jpg", "b.jpg"), written, strict=True))
    photos = read_photos(make_photos("a.jpg", "b.jpg"), label_file("path,label,DateTimeOriginal\n" + rows))
    assert tuple(photos.table["datetime"]) == expected
    assert said(photos, "2 times of") == (expected == ("", ""))


@pytest.mark.parametrize(
    "text",
    [
        b"sep=;\npath;label\na.jpg;deer\n",
        b"# made by ana\n# in May\npath,label\na.jpg,deer\n",
        b"sep=,\r\npath,label\r\na.jpg,deer\r\n",
    ],
)
def test_lines_before_the_header(make_photos: MakePhotos, label_file: Write, text: bytes) -> None:
    photos = read_photos(make_photos("a.jpg"), label_file(text))
    assert photos.table.to_dict("records") == [{"path": "a.jpg", "label": "deer"}]


def test_western_european_text(make_photos: MakePhotos, label_file: Write) -> None:
    photos = read_photos(
        make_photos("a.jpg", "b.jpg"), label_file("path,label\na.jpg,Hänfling\nb.jpg,Ñandú\n".encode("cp1252"))
    )
    assert list(photos.table["label"]) == ["Hänfling", "Ñandú"]
    assert said(photos, "was read as Windows-1252, for example 'Hänfling'")


def test_spreadsheets_and_several_tables(make_photos: MakePhotos, tmp_path: Path) -> None:
    root = make_photos("a.jpg")
    (tmp_path / "labels.xlsx").write_bytes(b"PK\3\4")
    with pytest.raises(UserError, match=r"labels\.xlsx is a spreadsheet; save it as CSV"):
        read_photos(root, tmp_path / "labels.xlsx")
    folder = tmp_path / "tables"
    folder.mkdir()
    for name in ("one.csv", "two.csv"):
        (folder / name).write_text("path,label\na.jpg,x\n")
    with pytest.raises(UserError, match=r"several label files, one\.csv and two\.csv; name one"):
        read_photos(root, folder)


def test_one_table_for_each_split(make_photos: MakePhotos, tmp_path: Path) -> None:
    root, folder = make_photos("a.jpg", "b.jpg", "c.jpg"), tmp_path / "tables"
    folder.mkdir()
    for name, text in {"train": "path,label\na.jpg,x\n", "test": "path,label\nb.jpg,y\n"}.items():
        (folder / f"{name}_labels.csv").write_text(text)
    assert column(read_photos(root, folder), "split") == {"a.jpg": "train", "b.jpg": "test"}
    # of Kaggle's two tables the one of the test photos has no labels
    (folder / "test_labels.csv").write_text("path\nb.jpg\n")
    photos = read_photos(root, folder)
    assert labels(photos) == {"a.jpg": "x"}
    assert "split" not in photos.table.columns


def test_a_rank_that_is_missing_proposes_the_labels_as_they_are(make_photos: MakePhotos, label_file: Write) -> None:
    table = label_file("path,label,genus\na.jpg,deer,\nz.jpg,fox,Vulpes\n")
    with pytest.raises(UserError, match=r"has no 'genus' for its photos.*data\.label: label takes the labels"):
        read_photos(make_photos("a.jpg"), table, rank="genus")


def test_ragged_rows_say_what_to_do(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("a.jpg")
    with pytest.raises(UserError, match="row 2 has 3 columns, not 2; quote values that hold delimiters"):
        read_photos(root, label_file("path,label\na.jpg,deer,fawn\n"))
    with pytest.raises(UserError, match="row 2 has 1 columns, not 2; give every row a value, or a delimiter"):
        read_photos(root, label_file("path,label\na.jpg\n"))
