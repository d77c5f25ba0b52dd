"""The names of the three splits, as used in every file and folder, and what people call them."""

import re

SPLITS = ("train", "val", "test")

# Folders, cells of tables and words in the names of label files, in lower case → the split
SPLIT_OF = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test", "holdout": "test",
}  # fmt: skip
WORD = re.compile(r"[A-Za-z]+")


def split_of(name: str) -> str:
    """The split that a folder or a cell names, "" where it names none."""
    return SPLIT_OF.get(name.strip().lower(), "")


def split_of_file(path: str) -> tuple[str, str]:
    """The split of a label file by the words of its path, "" where there is none, and the path with `*` for them.

    `valid/_classes.csv` is of val, `instances_train2017.json` of train; files of one set have equal second values.
    """
    splits = [split for word in WORD.findall(path) if (split := split_of(word))]
    return (splits[0] if splits else "", WORD.sub(lambda word: "*" if split_of(word[0]) else word[0], path))
