"""`dvc repro --pull --allow-missing` without training photos: evaluation may run, training may not.

Afterwards dvc.lock and the metrics must be as committed.
"""

import re
from pathlib import Path

from florafauna.base.errors import UserError
from florafauna.ci._commands import output, run
from florafauna.ci._lock import read_stages, stale_stages


def repro(root: Path = Path()) -> str:
    """Run the stages that are out of date and do not need the training photos.

    `UserError` if a stage that trains is out of date, or if dvc.lock or a metrics file then differs from HEAD.
    """
    stale = stale_stages(read_stages(root))
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
    story = f"{', '.join(ran)} ran again" if ran else "nothing had to run again"
    if stale:
        story += f", because {stale[0].reason}"
    changed = output(root, "git", "diff", "--name-only", "--relative", "HEAD", "--", "dvc.lock", "metrics").split()
    if changed:
        raise UserError(
            f"{story}, and now {' and '.join(changed)} {'differs' if len(changed) == 1 else 'differ'} from what is "
            "committed; run `dvc repro` and `dvc push`, and commit dvc.lock and metrics/."
        )
    return f"{story}, and dvc.lock and metrics/ are as committed."
