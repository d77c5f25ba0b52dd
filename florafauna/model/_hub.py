"""One safetensors file of the Hugging Face hub and its commit. Pickles, which can run code, are never read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from florafauna.base.errors import OF_THE_SYSTEM, UserError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def fetch(repository: str, file: str, revision: str | None, beside: tuple[str, ...], keep_at: str) -> tuple[Path, str]:
    """`file` of a repository, from the hub or its local cache, and its commit.

    The files named in `beside` are fetched into the same folder where the repository has them. `UserError` where the
    hub cannot be reached (it then names `keep_at` as the place for a file that was fetched elsewhere), where there is
    no such repository, revision or file, or where the weights are a pickle.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with _one_sentence(repository, file, revision, beside, keep_at):
        try:
            path = Path(hf_hub_download(repository, file, revision=revision))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            raise UserError(_what_there_is(repository, file, revision)) from None
        folder = path.parents[len(PurePosixPath(file).parts) - 1]  # snapshots/COMMIT
        for name in beside:
            try:
                hf_hub_download(repository, name, revision=folder.name)
            except EntryNotFoundError:  # not there; or, without a network, not in the cache
                continue
    return path, folder.name


def _what_there_is(repository: str, file: str, revision: str | None) -> str:
    from huggingface_hub import HfApi

    names = HfApi().list_repo_files(repository, revision=revision)
    safe = [name for name in names if name.endswith(".safetensors")]
    pickles = [name for name in names if name.endswith(PICKLES)]
    if safe:
        return f"the hub's {repository} has no {file}; give one of its safetensors as weights.file: {', '.join(safe)}."
    if pickles:
        return (
            f"the hub's {repository} has its weights as a pickle only ({', '.join(pickles)}), which can run any code "
            "when it is read and is refused; choose a repository with safetensors."
        )
    return f"the hub's {repository} has no {file} and no other weights; choose another repository."


@contextmanager
def _one_sentence(
    repository: str, file: str, revision: str | None, beside: tuple[str, ...], keep_at: str
) -> Iterator[None]:
    """The hub's client raises a dozen unrelated classes for 'no network'."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except UserError:
        raise
    except GatedRepoError:
        raise UserError(
            f"the hub gives {repository} only to those who accept its terms; accept them on its page, log in by "
            "`hf auth login`, and run the same command again."
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"the hub has no repository {repository}, or it is private; correct weights.hub, or log in by "
            "`hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"the hub's {repository} has no commit {revision}; correct weights.revision.") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OF_THE_SYSTEM:  # a full disk, say, which no network mends
            error.filename = error.filename or HF_HUB_CACHE
            raise
        at = f" at commit {revision}" if revision else ""
        too = f" (and {', '.join(beside)}, as far as it has them)" if beside else ""
        raise UserError(
            f"{file} of '{repository}' could not be fetched from the hub ({type(error).__name__}): connect, or "
            f"download it{too}{at} elsewhere, put it at {keep_at} and give weights: {keep_at}."
        ) from None
