"""Fetch what the checks need, and nothing else; refuse what is missing or broken."""

from pathlib import Path

from florafauna.base.errors import UserError
from florafauna.ci._commands import Done, output, run
from florafauna.ci._lock import needed, read_lock
from florafauna.ci._objects import corrupted, missing, objects_of, size


def pull(root: Path = Path()) -> str:
    """Fetch and check out bundles, predictions, timings, test pixels and the report; say how many bytes came."""
    files = needed(root, read_lock(root))
    cache = Path(output(root, "dvc", "cache", "dir").strip())
    refuse_corrupted(root, cache, files)
    before = _present(cache, files)
    if any(missing(cache, md5) for md5 in files.values()):
        fetched = run(root, "dvc", "fetch", *files)
        lacking = {path: names for path, md5 in files.items() if (names := missing(cache, md5))}
        if fetched.code or lacking:
            raise UserError(_why(root, fetched, lacking))
        refuse_corrupted(root, cache, files)
    checkout = run(root, "dvc", "checkout", "--force", *files)
    if checkout.code:
        raise UserError(f"`dvc checkout` failed: {checkout.last_error}; run it by hand to see more.")
    came = _present(cache, files) - before
    return f"{len(files)} outputs are complete; {len(came)} objects with {size(cache, came):,} bytes were fetched."


def refuse_corrupted(root: Path, cache: Path, files: dict[str, str]) -> None:
    """`UserError` where an object's bytes do not match its name."""
    for path, md5 in files.items():
        for broken in corrupted(cache, md5)[:1]:
            raise UserError(
                f"the cached object of {path} is corrupted; run `rm -f {_short(broken, root)}` and `dvc pull {path}`, "
                f"and if it comes back so, delete it on the remote and run `dvc push {path}` where the file is whole."
            )


def _present(cache: Path, files: dict[str, str]) -> set[str]:
    return {name for md5 in files.values() for name in objects_of(cache, md5)} - {
        name for md5 in files.values() for name in missing(cache, md5)
    }


def _why(root: Path, fetched: Done, lacking: dict[str, list[str]]) -> str:
    """Which of three things is wrong: no remote is set, it cannot be reached, or it lacks objects."""
    remotes = dict(line.split(maxsplit=1) for line in output(root, "dvc", "remote", "list").splitlines())
    if not remotes:
        return "no DVC remote is set, so nothing can be fetched; set one up as docs/remote.md says and run `dvc push`."
    name = run(root, "dvc", "config", "core.remote").out.strip() or next(iter(remotes))
    url = remotes.get(name, "of unknown place").split()[0]
    where = f"the remote '{name}' ({url})"
    if lacking and _reachable(root, name, url):
        path, names = next(iter(lacking.items()))
        return f"{where} lacks {len(names)} object(s) of {path}; run `dvc push` where the pipeline was run."
    return (
        f"{where} cannot be reached ({fetched.last_error}); "
        "check its address, the network and the credentials, and run the check again."
    )


def _reachable(root: Path, name: str, url: str) -> bool:
    """Whether the remote answers when asked what it has; DVC takes a folder that is not there for an empty one."""
    if Path(url).is_absolute() and not Path(url).is_dir():
        return False
    return run(root, "dvc", "status", "--cloud", "--remote", name).code == 0


def _short(path: Path, root: Path) -> str:
    try:
        return str(path.resolve().relative_to(root.resolve()))
    except ValueError:
        return str(path)
