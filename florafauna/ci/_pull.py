"""Fetch what the checks need, and nothing else; refuse what is missing or corrupted.

DVC names the objects in its cache by MD5 and trusts read-only ones without checking. Here they are checked.
"""

import os
from contextlib import suppress
from pathlib import Path

from dvc.output import Output
from dvc_data.hashfile.hash import file_md5
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from florafauna.base.errors import UserError
from florafauna.ci._commands import Done, run
from florafauna.ci._lock import needed, read_stages


def pull(root: Path = Path()) -> str:
    """Fetch and check out bundles, predictions, timings, test pixels and the report; say how many bytes came."""
    outs = needed(read_stages(root))
    paths = [out.def_path for out in outs]
    refuse_corrupted(root, outs)
    before = set().union(*map(present, outs))
    if any(map(missing, outs)):
        fetched = run(root, "dvc", "fetch", *paths)
        lacking = [out for out in outs if missing(out)]
        if fetched.code or lacking:
            raise UserError(_why(root, fetched, lacking or outs))
        refuse_corrupted(root, outs)
    checkout = run(root, "dvc", "checkout", "--force", *paths)
    if checkout.code:
        raise UserError(f"`dvc checkout` failed: {checkout.last_error}; run it by hand to see more.")
    came = set().union(*map(present, outs)) - before
    size = sum(Path(path).stat().st_size for path in came)
    return f"{len(outs)} outputs are complete; {len(came)} objects with {size:,} bytes were fetched."


def objects(out: Output) -> set[str]:
    """The cache paths of all objects of an output: for a folder its listing and the listed files.

    If the listing is missing or corrupted, it is the only one.
    """
    names = {out.hash_info.value}
    if out.hash_info.isdir:
        with suppress(FileNotFoundError, ObjectFormatError):
            names |= {hash_info.value for _, _, hash_info in Tree.load(out.cache, out.hash_info)}
    return {out.cache.oid_to_path(name) for name in names}


def present(out: Output) -> set[str]:
    """Those of its objects that are in the cache."""
    return {path for path in objects(out) if Path(path).is_file()}


def missing(out: Output) -> set[str]:
    """Those of its objects that are not in the cache."""
    return objects(out) - present(out)


def refuse_corrupted(root: Path, outs: list[Output]) -> None:
    """`UserError` if the bytes of an object do not match its name."""
    for out in outs:
        for path in sorted(present(out)):
            if file_md5(path) != "".join(Path(path).parts[-2:]).removesuffix(".dir"):
                raise UserError(
                    f"the cached object of {out.def_path} is corrupted; run `rm -f {os.path.relpath(path, root)}` and "
                    f"`dvc pull {out.def_path}`, and if it is still corrupted, delete it on the remote and run "
                    f"`dvc push {out.def_path}` where the file is intact."
                )


def _why(root: Path, fetched: Done, lacking: list[Output]) -> str:
    """Which of three things is wrong: there is no remote, it cannot be reached, or it lacks objects."""
    config = lacking[0].repo.config
    name = config["core"].get("remote")
    if name not in config["remote"]:
        return "no default DVC remote is set; set one up as docs/remote.md says and run `dvc push`."
    url = config["remote"][name]["url"]
    where = f"the remote '{name}' ({url})"
    if (absent := missing(lacking[0])) and _reachable(root, url):
        path = lacking[0].def_path
        return f"{where} lacks {len(absent)} object(s) of {path}; run `dvc push` where the pipeline was run."
    return (
        f"{where} cannot be reached ({fetched.last_error}); "
        "check its address, the network and the credentials, and run the check again."
    )


def _reachable(root: Path, url: str) -> bool:
    """Whether the remote can be listed; DVC takes a missing folder for an empty one."""
    if Path(url).is_absolute() and not Path(url).is_dir():
        return False
    return run(root, "dvc", "status", "--cloud").code == 0
