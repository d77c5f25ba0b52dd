"""The native table, its synonyms, and the policies that hold for every format."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from helpers.photos_view import column, labels, reasons
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from florafauna.base.errors import UserError
from florafauna.labels.read import FORMATS, read_photos
from florafauna.split._grouping import join

MakePhotos = Callable[..., Path]
Write = Callable[..., Path]
Fixture = Callable[[str], Path]


def test_columns_and_their_order(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("b.jpg", "a.jpg", "z/ä.jpg")
    table = label_file(
        "group,label,path,site,datetime,lat\ng1,fox,z/ä.jpg,S1,2020-01-02,1.5\n,deer,b.jpg,S2,,\n,fox,a.jpg,,,\n"
    )
    photos = read_photos(root, table)
    assert photos.format == "table"
    assert list(photos.table.columns) == ["path", "label", "location", "datetime", "latitude", "group"]
    assert list(photos.table["path"]) == ["a.jpg", "b.jpg", "z/ä.jpg"]
    assert photos.table.iloc[2].tolist() == ["z/ä.jpg", "fox", "S1", "2020-01-02", "1.5", "g1"]
    assert photos.omitted.empty
    assert list(photos.omitted.columns) == ["path", "label", "reason", "detail"]


@pytest.mark.parametrize(
    "label", ["007", "NA", "None", "null", "nan", "true", "1e3", "1.0", "-", " fox ", '"q"', "a,b", "ü|"]
)
def test_values_stay_as_they_are_written(make_photos: MakePhotos, label_file: Write, label: str) -> None:
    quoted = '"' + label.replace('"', '""') + '"'
    photos = read_photos(make_photos("a.jpg"), label_file(f"path,label,note\na.jpg,{quoted},{quoted}\n"))
    assert photos.table.loc[0, ["label", "note"]].tolist() == [label, label]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfpath,label,note\na.jpg,deer,\n",
        b"path,label,note\r\na.jpg,deer,\r\n",
        b"path;label;note\na.jpg;deer;\n",
        b"path\tlabel\tnote\na.jpg\tdeer\t\n",
        b'"path","label","note"\n"a.jpg","deer",""\n\n',
        b"note, label ,path\n,deer,a.jpg",
        b",path,label,note\n0,a.jpg,deer,\n",
        b"path;label;note;;\r\na.jpg;deer;;;\r\n;;;;\r\n;;;;\r\n",
    ],
    ids=["byte order mark", "CRLF", "semicolons", "tabs", "quoted", "spaced header", "index of pandas", "empty cells"],
)
def test_spellings_of_csv(make_photos: MakePhotos, label_file: Write, data: bytes) -> None:
    photos = read_photos(make_photos("a.jpg"), label_file(data))
    assert photos.table.to_dict("records") == [{"path": "a.jpg", "label": "deer", "note": ""}]
    assert photos.omitted.empty


def test_line_breaks_within_quotes(make_photos: MakePhotos, label_file: Write) -> None:
    table = label_file('path,note,label\na.jpg,"one\r\ntwo, ""three""",deer\nb.jpg,,fox\n')
    photos = read_photos(make_photos("a.jpg", "b.jpg"), table)
    assert labels(photos) == {"a.jpg": "deer", "b.jpg": "fox"}
    assert column(photos, "note")["a.jpg"] == 'one\r\ntwo, "three"'


def test_unknown_individuals_are_not_one(make_photos: MakePhotos, label_file: Write) -> None:
    rows = "a.jpg,fox,NA,NA\nb.jpg,fox,Unknown,NA\nc.jpg,NA,F7,NA\n"
    photos = read_photos(make_photos("a.jpg", "b.jpg", "c.jpg"), label_file(f"path,label,individual,note\n{rows}"))
    assert column(photos, "individual") == {"a.jpg": "", "b.jpg": "", "c.jpg": "F7"}
    assert set(column(photos, "note").values()) == {"NA"}
    assert labels(photos)["c.jpg"] == "NA"
    assert "2 values of individual are none, for example 'NA'; they were left empty" in photos.notes


def test_a_photo_of_two_individuals_is_of_both(make_photos: MakePhotos, label_file: Write) -> None:
    """Were it of the first alone, under data.groups the second could lie on the other side of the split."""
    rows = "a.jpg,fox,Eve,S1,x\na.jpg,fox,Ada,S2,\na.jpg,fox,Ada,S1,y\nb.jpg,fox,Ada,S1,x\n"
    table = label_file(f"path,label,individual,location,den\n{rows}")
    photos = read_photos(make_photos("a.jpg", "b.jpg"), table)
    assert column(photos, "individual") == {"a.jpg": "Ada | Eve", "b.jpg": "Ada"}
    assert column(photos, "den") == {"a.jpg": "x | y", "b.jpg": "x"}
    assert column(photos, "location") == {"a.jpg": "S1", "b.jpg": "S1"}
    assert len(set(join(photos.table.assign(sha256=["0" * 64, "1" * 64]), ("den",), pd.Series(["", ""]))["key"])) == 1


def test_json_lines_end_where_the_line_ends(make_photos: MakePhotos, label_file: Write) -> None:
    rows = '{"path": "a.jpg", "label": "deer", "note": "one\u2028two"}\n{"path": "b.jpg", "label": "fox"}\n'
    photos = read_photos(make_photos("a.jpg", "b.jpg"), label_file(rows, "labels.jsonl"))
    assert labels(photos) == {"a.jpg": "deer", "b.jpg": "fox"}


def test_gzip_and_parquet(make_photos: MakePhotos, label_file: Write, tmp_path: Path) -> None:
    root = make_photos("a.jpg", "b.jpg")
    packed = label_file(gzip.compress(b"path,label\na.jpg,deer\nb.jpg,fox\n"), "labels.csv.gz")
    assert labels(read_photos(root, packed)) == {"a.jpg": "deer", "b.jpg": "fox"}
    frame = pd.DataFrame(
        {
            "path": pd.Categorical(["a.jpg", "b.jpg"]),
            "label": [7, 8],
            "individual": pd.array([3, None], dtype="Int64"),
            "datetime": pd.to_datetime(["2020-01-02 03:04:05", None]),
            "captive": [True, False],
            "box": [[1, 2], [3, 4]],
            "picture": [b"\xff\xd8", None],
        }
    )
    frame.to_parquet(tmp_path / "labels.parquet")
    photos = read_photos(root, tmp_path / "labels.parquet")
    assert photos.table.drop(columns="captive").to_dict("records") == [
        {"path": "a.jpg", "label": "7", "individual": "3", "datetime": "2020-01-02T03:04:05"},
        {"path": "b.jpg", "label": "8", "individual": "", "datetime": ""},
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"path,label\na.jpg,\xcb\xe8\xf1\xe0\n", r"labels\.csv is not UTF-8: byte 17 \(0xcb, line 2\)"),
        ("path,label\na.jpg,deer\n".encode("utf-16"), "is UTF-16, not UTF-8"),
        (b"", "is empty"),
        (b"path,label\na.jpg,deer,1\n", "row 2 has 3 columns, not 2"),
        (b"path,label\na.jpg\n", "row 2 has 1 columns, not 2"),
        (b"path,label,label\na.jpg,deer,fox\n", "two columns named 'label'"),
        (b"where,label\na.jpg,deer\n", "has no path column; name it 'path' .*its columns are where, label"),
        (b"path,animal\na.jpg,deer\n", "has no label column; name it 'label' .*its columns are animal, path"),
        (b"path,category,species\na.jpg,cat,x\n", "has 'species' and 'category' for the label"),
        (b"path,label,split\na.jpg,x,trial\n", "the split 'trial' of a.jpg is not one of train, training, val"),
        (b"path,label\nz.jpg,x\n", "none of the 1 photos that it lists lies below .*'z.jpg', the root 'a.jpg'"),
        (b"path,label\na.jpg,\n", "no photo with a label is left below .*1 no_label"),
        (b"path,label\n", "no photo with a label is left .*1 unlisted"),
        (b'path,label\na.jpg,"deer\nb.jpg,fox\n', "a quotation mark before 'deer' that is not closed"),
        (b'path,"label\n' + 20_000 * b"a.jpg,deer\n", "no header that can be read .* close its quotation marks"),
    ],
)
def test_what_is_wrong_with_a_table_in_one_sentence(
    make_photos: MakePhotos, label_file: Write, data: bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_photos(make_photos("a.jpg"), label_file(data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("filename,category,location", "a.jpg,puma,s1", {"label": "puma", "location": "s1"}),
        ("filePath,scientificName,deploymentID", "a.jpg,Puma concolor,d",
         {"label": "Puma concolor", "genus": "Puma", "species": "Puma concolor", "location": "d"}),
        ("image,class", "a.jpg,tulip", {"label": "tulip"}),
        ("path,label,class", "a.jpg,x,Aves", {"label": "x", "class": "Aves"}),
        ("path,species,common_name", "a.jpg,Puma concolor,Puma",
         {"label": "Puma concolor", "species": "Puma concolor", "common_name": "Puma"}),
        ("path,label,classification", "a.jpg,Bos,1", {"label": "Bos", "classification": "1"}),
        ("FilePath,Species,Station", "a.jpg,Lynx,S", {"label": "Lynx", "species": "Lynx", "location": "S"}),
        ("path,label,user_id,user_login", "a.jpg,x,7,ana", {"label": "x", "observer": "7", "user_login": "ana"}),
        ("path,label,seq_id,license", "a.jpg,x,q,CC0", {"label": "x", "sequence": "q", "licence": "CC0"}),
    ],
)  # fmt: skip
def test_synonyms(make_photos: MakePhotos, label_file: Write, header: str, row: str, expected: dict[str, str]) -> None:
    photos = read_photos(make_photos("a.jpg"), label_file(f"{header}\n{row}\n"))
    assert photos.table.to_dict("records") == [{"path": "a.jpg", **expected}]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("speciesnet.csv", {"a/1.jpg": ("puma", "site1"), "a/2.jpg": ("ocelot", "site2")}),
        ("zamba.csv", {"a/1.jpg": ("antelope_duiker", "TN01"), "a/2.jpg": ("elephant", "TN02"),
                       "a/3.jpg": ("elephant", "TN03")}),
        ("pytorch_wildlife.csv", {"a/1.jpg": ("Dasyprocta", "L1"), "a/2.jpg": ("Bos", "L2")}),
        ("animl.csv", {"a/1.jpg": ("Canis latrans", ""), "a/2.jpg": ("Lynx rufus", "")}),
    ],
)  # fmt: skip
def test_the_tables_of_tools(
    make_photos: MakePhotos, fixture_of: Fixture, name: str, expected: dict[str, tuple[str, str]]
) -> None:
    photos = read_photos(make_photos(*expected), fixture_of(name))
    locations = column(photos, "location") if "location" in photos.table.columns else dict.fromkeys(expected, "")
    assert {path: (label, locations[path]) for path, label in labels(photos).items()} == expected


def test_splits_of_other_tools(make_photos: MakePhotos, fixture_of: Fixture) -> None:
    photos = read_photos(make_photos("a/1.jpg", "a/2.jpg", "a/3.jpg"), fixture_of("zamba.csv"))
    assert column(photos, "split") == {"a/1.jpg": "train", "a/2.jpg": "val", "a/3.jpg": "test"}


def test_every_photo_is_used_or_listed_once_with_its_reason(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg")
    rows = [
        "a.jpg,deer",
        "a.jpg,deer",
        "b.jpg,deer",
        "b.jpg,fox",
        "c.jpg,",
        "d.jpg,",
        "d.jpg,fox",
        "g.jpg,fox",
        "g.jpg,elk",
    ]
    photos = read_photos(root, label_file("path,label\n" + "\n".join(rows) + '\n"h\n.jpg",fox\n'))
    assert labels(photos) == {"a.jpg": "deer", "d.jpg": "fox"}
    assert reasons(photos) == {
        "b.jpg": "label_conflict",
        "c.jpg": "no_label",
        "e.jpg": "unlisted",
        "f.jpg": "unlisted",
        "g.jpg": "missing_file",
        "h\\x0a.jpg": "bad_name",
    }
    assert photos.omitted.loc[0].tolist() == [
        "b.jpg",
        "deer | fox",
        "label_conflict",
        "it has several labels: deer | fox",
    ]


def test_rows_that_agree_become_one(make_photos: MakePhotos, label_file: Write) -> None:
    text = "path,label,observer,sequence,genus,family\na.jpg,x,,s1,Cervus,Cervidae\na.jpg,x,ana,s2,Alces,\n"
    photos = read_photos(make_photos("a.jpg"), label_file(text))
    # the first value given; but no rank on which the rows disagree
    assert photos.table.to_dict("records") == [
        {"path": "a.jpg", "label": "x", "observer": "ana", "sequence": "s1", "family": "Cervidae", "genus": ""}
    ]


def test_words_for_blank_are_labels_in_a_native_table(make_photos: MakePhotos, label_file: Write) -> None:
    photos = read_photos(make_photos("a.jpg", "b.jpg"), label_file("path,label\na.jpg,blank\nb.jpg,human\n"))
    assert labels(photos) == {"a.jpg": "blank", "b.jpg": "human"}


def test_training_at_any_rank(make_photos: MakePhotos, label_file: Write) -> None:
    text = (
        "path,species,genus,family,common\n"
        "a.jpg,Cervus elaphus,Cervus,Cervidae,x\na.jpg,Cervus nippon,Cervus,Cervidae,x\n"
        "b.jpg,Alces alces,Alces,Cervidae,y\nc.jpg,Felidae sp.,,Felidae,z\n"
    )
    root, table = make_photos("a.jpg", "b.jpg", "c.jpg"), label_file(text)
    assert reasons(read_photos(root, table)) == {"a.jpg": "label_conflict"}
    by_genus = read_photos(root, table, rank="genus")
    assert labels(by_genus) == {"a.jpg": "Cervus", "b.jpg": "Alces"}
    assert by_genus.omitted.to_dict("records") == [
        {"path": "c.jpg", "label": "", "reason": "no_label", "detail": "no genus given, only Felidae sp."}
    ]
    assert labels(read_photos(root, table, rank="family")) == {
        "a.jpg": "Cervidae",
        "b.jpg": "Cervidae",
        "c.jpg": "Felidae",
    }
    assert set(labels(read_photos(root, table, rank="common")).values()) == {"x", "y", "z"}
    with pytest.raises(
        UserError, match="has no 'order' for its photos; the ranks that it has are family, genus, species"
    ):
        read_photos(root, table, rank="order")


@pytest.mark.parametrize(
    "path",
    ["../x.jpg", "/etc/passwd", "a/../../x.jpg", "C:\\x.jpg", "c:x.jpg", "\\\\server\\x.jpg", "..\\x.jpg", "//x.jpg"],
)
def test_a_path_that_leaves_the_root_fails(make_photos: MakePhotos, label_file: Write, path: str) -> None:
    root = make_photos("a.jpg")
    make_photos("x.jpg", root=".")
    with pytest.raises(UserError, match=r"labels\.csv: '.*' points outside .*photos"):
        read_photos(root, label_file(f"path,label\na.jpg,deer\n{path},fox\n"))


@pytest.mark.parametrize("path", ["./d/a.jpg", "d//a.jpg", "d\\a.jpg", "d/./a.jpg", "d/x/../a.jpg", ".\\d\\a.jpg"])
def test_paths_are_brought_into_one_form(make_photos: MakePhotos, label_file: Write, path: str) -> None:
    assert labels(read_photos(make_photos("d/a.jpg"), label_file(f"path,label\n{path},deer\n"))) == {"d/a.jpg": "deer"}


def test_paths_relative_to_the_label_file_or_absolute(make_photos: MakePhotos, label_file: Write) -> None:
    root = make_photos("d/a.jpg", "d/b.jpg")
    photos = read_photos(root, label_file("path,label\nphotos/d/a.jpg,deer\nphotos/d/b.jpg,fox\n"))
    assert labels(photos) == {"d/a.jpg": "deer", "d/b.jpg": "fox"}
    assert any("relative to the label file's own folder" in note for note in photos.notes)
    inside = root / "d" / "labels.csv"
    inside.write_text("path,label\na.jpg,deer\nb.jpg,fox\n")
    assert labels(read_photos(root, inside)) == labels(photos)
    assert labels(read_photos(root, label_file(f"path,label\n{root}/d/a.jpg,deer\n"))) == {"d/a.jpg": "deer"}


def test_times_become_iso_8601(make_photos: MakePhotos, label_file: Write) -> None:
    given_and_expected = {
        "2020-05-30 02:57:37": "2020-05-30T02:57:37",
        "2020-05-30T02:57:37Z": "2020-05-30T02:57:37+00:00",
        "2020-05-30T02:57:37+0200": "2020-05-30T02:57:37+02:00",
        "2020:05:30 02:57:37": "2020-05-30T02:57:37",
        "2020-05-30 2:57": "2020-05-30T02:57",
        "2019-05-04 15:33:12 UTC": "2019-05-04T15:33:12+00:00",
        "2020/05/30": "2020-05-30",
        "2020-05-30/2020-06-01": "2020-05-30",
        "2020-05": "2020-05",
        "2020": "2020",
        "": "",
        "30/05/2020": "2020-05-30",
        "20-05-30": "",
        "2020-13-45": "",
        "soon": "",
    }
    names = [f"{number:02}.jpg" for number in range(len(given_and_expected))]
    rows = "".join(f'{name},x,"{value}"\n' for name, value in zip(names, given_and_expected, strict=True))
    photos = read_photos(make_photos(*names), label_file("path,label,timestamp\n" + rows))
    assert list(photos.table["datetime"]) == list(given_and_expected.values())
    assert any("3 times of" in note and "'20-05-30'" in note for note in photos.notes)


def test_an_unknown_format_and_a_missing_file(make_photos: MakePhotos, tmp_path: Path, label_file: Write) -> None:
    root = make_photos("a.jpg")
    with pytest.raises(UserError, match="'csv' is not one of auto, folder, "):
        read_photos(root, root, "csv")
    with pytest.raises(UserError, match=r"data\.labels: .* does not exist"):
        read_photos(root, tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"data\.root: .* does not exist"):
        read_photos(tmp_path / "none", label_file("path,label\na.jpg,x\n"))
    with pytest.raises(UserError, match=r"not in a recognised format; looked for .*COCO.*set data\.format"):
        read_photos(root, label_file("about", "labels.docx"))


@pytest.mark.parametrize("name", [name for name in FORMATS if "/" not in name and name != "folder"])
def test_a_forced_format_says_what_it_lacks(make_photos: MakePhotos, label_file: Write, name: str) -> None:
    with pytest.raises(UserError) as caught:
        read_photos(make_photos("a.jpg"), label_file("some,columns\n1,2\n", "x.csv"), name)
    assert "\n" not in str(caught.value)
    assert "x.csv" in str(caught.value)


def test_labels_for_photos_in_an_archive(make_photos: MakePhotos, label_file: Write, tmp_path: Path) -> None:
    import zipfile

    root = make_photos("d/a.jpg")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(root / "d" / "a.jpg", "d/a.jpg")
    table = label_file("path,label\nd/a.jpg,deer\nd/b.jpg,fox\n")
    photos = read_photos(tmp_path / "photos.zip", table)
    assert (labels(photos), reasons(photos)) == ({"d/a.jpg": "deer"}, {"d/b.jpg": "missing_file"})
    with pytest.raises(UserError, match="points outside"):
        read_photos(tmp_path / "photos.zip", label_file("path,label\n../d/a.jpg,deer\n"))


names = st.sampled_from(["a.jpg", "b.jpg", "c/d.jpg", "none.jpg", "c\\d.jpg"])
cells = st.sampled_from(["", "deer", "fox", "NA"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(names, cells, cells), min_size=1, max_size=12))
def test_nothing_is_lost_and_nothing_depends_on_the_order_of_rows(
    make_photos: MakePhotos, label_file: Write, rows: list[tuple[str, str, str]]
) -> None:
    root = make_photos("a.jpg", "b.jpg", "c/d.jpg", "kept.jpg")
    rows = [*rows, ("kept.jpg", "elk", "")]

    def read(order: list[tuple[str, str, str]]) -> tuple[dict[str, str], dict[str, str]]:
        text = "path,label,note\n" + "".join(f"{path},{label},{note}\n" for path, label, note in order)
        photos = read_photos(root, label_file(text))
        assert photos.table["path"].is_monotonic_increasing
        assert photos.table["path"].is_unique
        return labels(photos), reasons(photos)

    used, omitted = read(rows)
    assert (used, omitted) == read(rows[::-1])
    listed = {path.replace("\\", "/") for path, _, _ in rows}
    assert used.keys() | omitted.keys() == listed | {"a.jpg", "b.jpg", "c/d.jpg", "kept.jpg"}
    assert not used.keys() & omitted.keys()
    for path in used:
        assert {label for name, label, _ in rows if name.replace("\\", "/") == path and label} == {used[path]}


@pytest.mark.parametrize("blank", [" ", "\t", "\r\n", "\u00a0 "])
def test_a_label_of_white_space_is_none(make_photos: MakePhotos, label_file: Write, blank: str) -> None:
    table = label_file(f'path,label,genus\na.jpg,"{blank}",Vulpes\nb.jpg,fox,"{blank}"\nc.jpg,elk,Alces\n')
    root = make_photos("a.jpg", "b.jpg", "c.jpg")
    assert reasons(read_photos(root, table)) == {"a.jpg": "no_label"}
    assert reasons(read_photos(root, table, rank="genus")) == {"b.jpg": "no_label"}
