"""`dvc repro --pull --allow-missing` where no training photo is: evaluation may run, training may not."""

import re
from pathlib import Path

from florafauna.base.errors import UserError
from florafauna.ci._commands import run
from florafauna.ci._lock import read_lock, stale_stages


def repro(root: Path = Path()) -> str:
    """Run what is out of date and needs no training photo; `UserError` where a stage that trains is out of date."""
    stale = stale_stages(root, read_lock(root))
    for each in stale:
        if each.trains:
            raise UserError(
                f"{each.stage} has to run again, because {each.reason}, and this check does not train; run `dvc repro` "
                "and `dvc push` where the photos are, and commit dvc.lock and metrics/."
            )
    done = run(root, "dvc", "repro", "--pull", "--allow-missing")
    if done.code:
        raise UserError(f"`dvc repro --pull --allow-missing` failed: {done.last_error}; run it by hand to see more.")
    ran = re.findall(r"Running stage '([^']+)'", done.out)
    if not ran:
        return "nothing had to run again."
    why = f", because {stale[0].reason}" if stale else ""
    return f"{', '.join(ran)} ran again{why}."
