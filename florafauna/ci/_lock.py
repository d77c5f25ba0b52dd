"""The stages as DVC sees them: which outputs a check needs, which stages are out of date, and why."""

from dataclasses import dataclass
from pathlib import Path

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.utils.flatten import flatten

from florafauna.base.errors import UserError

EVALUATE, COMPARE = "evaluate", "compare"
Stages = dict[str, PipelineStage]


@dataclass(frozen=True)
class Stale:
    """A stage that has to run again, and what changed since it ran."""

    stage: str
    reason: str

    @property
    def trains(self) -> bool:
        """Whether it needs the training photos, or comes before a stage that does."""
        return self.stage.partition("@")[0] not in (EVALUATE, COMPARE)


def read_stages(root: Path = Path()) -> Stages:
    """The stages of dvc.yaml by name, with their state in dvc.lock; `UserError` if that is missing or broken."""
    if not (root / "dvc.lock").is_file():
        raise UserError("dvc.lock is missing; run `dvc repro` and commit dvc.lock.")
    try:
        stages = {stage.name: stage for stage in Repo(str(root)).stage.load_all(str(root.resolve() / "dvc.yaml"))}
    except DvcException:
        raise UserError(
            "dvc.yaml or dvc.lock is not valid, perhaps after a merge conflict; take one side of it with "
            "`git checkout --theirs dvc.lock`, run `dvc repro` and commit dvc.lock."
        ) from None
    if not all(out.hash_info for out in stages[COMPARE].outs):
        raise UserError(f"dvc.lock has no stage '{COMPARE}'; run `dvc repro` to the end and commit dvc.lock.")
    return stages


def evaluated_models(stages: Stages) -> list[str]:
    """The models that have an evaluate stage."""
    return [name.partition("@")[2] for name in stages if name.startswith(f"{EVALUATE}@")]


def needed(stages: Stages) -> list[Output]:
    """What the compare stage reads and writes, as far as DVC caches it.

    These are bundles, predictions, timings and test pixels, but no training or validation photos, initial weights or
    trained models.
    """
    made = {out.def_path: out for stage in stages.values() for out in stage.outs}
    read = [made[dep.def_path] for dep in stages[COMPARE].deps if dep.def_path in made]
    return [out for out in (*read, *stages[COMPARE].outs) if out.use_cache]


def writer(stages: Stages, path: str) -> str:
    """The stage that writes a file."""
    return next(
        name for name, stage in stages.items() for out in stage.outs if Path(path).is_relative_to(out.def_path)
    )  # fmt: skip


def stale_stages(stages: Stages, outputs: bool = True) -> list[Stale]:
    """Stages whose command, code, params or inputs differ from dvc.lock, without the stages downstream.

    A file that was not fetched counts as unchanged. With `outputs=False`, so does everything that a stage wrote, such
    as a metrics file.
    """
    made = {out.def_path for stage in stages.values() for out in stage.outs}
    found = []
    for name, stage in stages.items():
        reasons = ["its command changed"] if stage.cmd_changed else []
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                reasons += changed_params(dep)
            elif outputs or dep.def_path not in made:
                how = list(dep.status().values())
                if how and (how != ["deleted"] or dep.def_path.endswith(".py")):  # code is never fetched
                    reasons.append(f"{dep.def_path} is {how[0]}")
        if reasons:
            found.append(Stale(name, " and ".join(reasons)))
    return found


def changed_params(dep: ParamsDependency) -> list[str]:
    """The params that differ from dvc.lock, each as `key changed from old to new`."""
    before, now = flatten(dep.hash_info.value or {}), flatten(dep.read_params())
    values = {key: (before.get(key, "absent"), now.get(key, "absent")) for key in sorted({*before, *now})}
    return [f"{key} changed from {old} to {new}" for key, (old, new) in values.items() if old != new]
