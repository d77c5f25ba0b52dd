"""The training loop, one for every model: what differs between models is data in params.yaml."""

import gc
import shutil
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributed import ReduceOp
from torch.nn.functional import cross_entropy

from florafauna.base.errors import UserError
from florafauna.base.files import sha256_file, sweep, write_json
from florafauna.base.metrics import accuracy, weighted_f1
from florafauna.base.progress import track
from florafauna.base.randomness import rng_key
from florafauna.model.compute import Compute, choose, hardware, memory_advice, reuse_freed_memory
from florafauna.model.network import try_out
from florafauna.model.ranks import by_all, by_first, part, rank, ranks
from florafauna.model.settings import ModelParams
from florafauna.model.tensors import DamagedError, load_tensors, save_tensors
from florafauna.model.weights import InitialWeights, load_initial_weights
from florafauna.pixels.centre import PREDICTION_BATCH
from florafauna.pixels.store import PixelStore
from florafauna.training._averaging import averaged, moving_tensors, update_average
from florafauna.training._compiling import remembered
from florafauna.training._feeds import Photos, choose_feed
from florafauna.training._loss import loss_of
from florafauna.training._parallel import mean_of, share, together, unsynced, with_common_batch_norms
from florafauna.training._parts import Parts
from florafauna.training._refusals import refuse_photos, refuse_policy
from florafauna.training._result import describe, timing, write_checked
from florafauna.training._resume import (
    COMPILING,
    START,
    STATE,
    Epoch,
    State,
    best_file,
    drop_damaged,
    load_state,
    run_key,
    save_state,
)
from florafauna.training._schedule import rate_at, should_stop
from florafauna.training._wise import average_with_start
from florafauna.training.frozen._probe import put_head, solve_head
from florafauna.training.frozen.logistic import L2
from florafauna.training.job import TrainingJob
from florafauna.training.trainable import (
    build,
    data_config,
    format_policy,
    freeze,
    made_for_size,
    parameter_groups,
    policy_table,
    set_training_modes,
    start_head,
)

SECONDS_BETWEEN_SAVES = 300.0
STEPS_BETWEEN_CHECKS = 50  # that the loss is finite: reading it makes the GPU wait
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


# --- the run ---


def train(job: TrainingJob) -> None:
    """Train a model as its params say, once for each of `seeds`; write it, its learning curve and its timing.

    The run with the first seed is the model. Those with further seeds, which show the spread, go to seeds/1, 2, …
    below it. Raises `UserError` if the loss is NaN or infinite, or memory runs out.

    >>> params = read_model("vit")  # doctest: +SKIP
    >>> train(TrainingJob("vit", params, initial, train_store, val_store, scratch, out, timing))  # doctest: +SKIP
    """
    by_first(lambda: sweep(job.scratch))
    timings, folders = [], []
    for number in range(job.params.seeds):
        params = job.params.model_copy(update={"seed": job.params.seed + number, "seeds": 1})
        out = job.out / "seeds" / str(number) if number else job.out
        if job.params.seeds > 1:
            _say(job, f"seed {params.seed}, {number + 1} of {job.params.seeds}")
        timing, folder = train_once(replace(job, params=params, out=out))
        gc.collect()  # its photos and its model refer to themselves; their processes and memory are for the next one
        timings.append(timing)
        folders.append(folder)
    timing = timings[0] | {"seconds_of_seeds": [timing["seconds"] for timing in timings]}
    by_first(lambda: write_json(job.timing, timing))
    for folder in folders:  # only now: until then a killed run finds the seeds that are finished
        by_first(partial(shutil.rmtree, folder))


def train_once(job: TrainingJob) -> tuple[dict[str, Any], Path]:
    """One run with one seed; returns its timing, and the folder that it would resume from.

    A run killed at any moment resumes from its last saved state and, on a CPU, ends with the same weights as an
    uninterrupted one.
    """
    compute = choose(job.params.precision)
    reuse_freed_memory()

    # --- model ---
    initial = load_initial_weights(job.initial)
    job = replace(job, params=made_for_size(job.params, initial.overlay))
    params = job.params
    train_store, val_store = PixelStore(job.train), PixelStore(job.val)
    by_first(train_store.verify)
    by_first(val_store.verify)
    model = build(params, initial.tensors, initial.overlay, len(train_store.labels))
    freeze(model, params.trainable, params.norms)
    groups = parameter_groups(model, params)
    refuse_policy(job.name, model, params)
    _say(job, f"{params.architecture.name}, {compute.precision} on {hardware()}, {len(train_store)} photos")
    print(format_policy(policy_table(model, groups, params.rate)), flush=True)
    model = with_common_batch_norms(compute.place(model))

    told = params.model_dump(mode="json") | ({} if job.settled is None else {"settled": asdict(job.settled)})
    key = run_key(told, job.initial, [job.train / "index.parquet", job.val / "index.parquet"])
    folder = job.scratch / "training" / f"{job.name}-{key[:16]}"
    by_first(lambda: drop_damaged(folder))
    with memory_advice(
        lambda: f"lower models.{job.name}.batch_size ({params.batch_size}) and raise accumulate, or lower train_size."
    ):
        # --- data ---
        photos = Photos(train_store, val_store, params, data_config(model, params), compute)
        refuse_photos(job.name, photos)
        for size in {photos.data.train_size, photos.data.test_size}:
            try_out(model, size, params.architecture.name)
        weights_sha256, features = sha256_file(job.initial), job.scratch / "features"
        feed, remark = choose_feed(photos, model, weights_sha256, features, folder / COMPILING)
        _say(job, remark)

        # --- head ---
        loss = loss_of(params, train_store, compute.device)
        l2s = L2 if job.settled is None or job.settled.l2 is None else (job.settled.l2,)
        solve = partial(solve_head, feed, model, weights_sha256, features, loss, l2s)
        head_seconds, head_l2 = 0.0, None
        if params.optimizer == "lbfgs" or (folder / STATE).is_file():
            pass  # it is solved for, or resumed: neither has a start
        elif params.head_init == "probe":
            optimum = solve()
            put_head(model, optimum)
            head_seconds, head_l2 = optimum.seconds, optimum.l2
            _say(job, f"the head starts from its optimum over the frozen features: {optimum}; {optimum.seconds:.1f} s")
        else:  # only now: a head of zeros would hide a feed or a probe that does not give the model's logits
            start_head(model, params.head_init, params.seed)
        if params.wise is not None and not (folder / STATE).is_file():
            by_first(partial(save_tensors, folder / START, moving_tensors(model)))

        # --- loop ---
        averages = params.ema > 0 and params.optimizer != "lbfgs"  # a head that is solved for has no average
        parts = Parts(
            job=job,
            model=model,
            feed=feed,
            compute=compute,
            optimizer=_optimizer(groups, params, compute),
            scaler=torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16"),
            average={name: tensor.clone() for name, tensor in moving_tensors(model).items()} if averages else {},
            loss=loss,
            folder=folder,
            solve=solve,
            head_seconds=head_seconds,
            head_l2=head_l2,
        )
        state = fit(parts)

        # --- result ---
        _finish(parts, state, initial, photos)
        return timing(photos, state, feed.prefix_seconds, remembered(folder / COMPILING)), folder


# --- the loop ---


def fit(parts: Parts) -> State:
    """The loop. Returns the final state; the best checkpoint is in `parts.folder`."""
    job, params, model = parts.job, parts.job.params, parts.model
    state = load_state(parts.folder, model, parts.average, parts.optimizer, parts.scaler)
    state.seconds += parts.head_seconds
    state.l2 = state.l2 if parts.head_l2 is None else parts.head_l2
    if state.step:
        _say(job, f"resuming after step {state.step} of an interrupted run")
    epochs, train_on = (1, train_head) if params.optimizer == "lbfgs" else (params.epochs, train_epoch)
    end = epochs if job.settled is None else job.settled.epochs
    while state.epoch < end and (job.settled is not None or not should_stop(state.scores, params.patience)):
        train_loss = train_on(parts, state)

        # validate, and keep the best
        start = time.monotonic()
        with averaged(model, parts.average):
            logits, targets = validate(parts)
            if not np.isfinite(logits).all():  # the last step broke the weights after its loss had been computed
                _refuse_nan(job, state.step, _last_rate(parts, state))
            predictions = logits.argmax(1)
            row = Epoch(
                epoch=state.epoch + 1,
                step=state.step,
                lr=_last_rate(parts, state),
                train_loss=train_loss,
                val_loss=float(cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))),
                val_accuracy=accuracy(targets, predictions),
                val_weighted_f1=weighted_f1(targets, predictions),
            )
            best = not state.scores or row.val_weighted_f1 > max(state.scores)
            if best or job.settled is not None:  # to disk: a state_dict in memory would keep changing with the model
                state.best_epoch = row.epoch
                by_first(partial(save_tensors, best_file(parts.folder, row.epoch), moving_tensors(model)))

        # save and log
        state.history.append(row)
        state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
        state.seconds += time.monotonic() - start
        _save(parts, state)
        _say(
            job,
            f"epoch {row.epoch} of {epochs}: rate {row.lr:.2e}, loss {row.train_loss:.4f}, val loss "
            f"{row.val_loss:.4f}, val weighted F1 {row.val_weighted_f1:.4f}{' (best)' if best else ''}",
        )
    return state


def train_epoch(parts: Parts, state: State) -> float:
    """Train from where `state` stands to the end of its epoch; returns the mean loss of the epoch's batches."""
    job, params, compute, optimizer = parts.job, parts.job.params, parts.compute, parts.optimizer
    total = parts.feed.batches_per_epoch
    loss_sum = torch.tensor(state.loss_sum, dtype=torch.float64, device=compute.float64_device)
    broken_at = torch.tensor(-1, device=compute.device)
    start = saved = time.monotonic()
    set_training_modes(parts.model)
    batches = parts.feed.training(state.epoch, state.batch)
    for batch in track(batches, f"{job.name} epoch {state.epoch + 1}", total - state.batch):
        part_of = f" of {rank()}" if rank() else ""
        torch.manual_seed(rng_key(params.seed, state.epoch, f"batch {state.batch}{part_of}"))  # dropout and drop path
        rate = rate_at(state.step, _steps_per_epoch(parts), state.scores, params)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]

        # forward and backward
        in_step = min(params.accumulate, total - state.batch // params.accumulate * params.accumulate)  # batches
        last = (state.batch + 1) % params.accumulate == 0 or state.batch + 1 == total
        with unsynced(parts.feed.forward, last):
            with compute.autocast():
                logits = parts.feed.logits(batch, training=True)
            loss = parts.loss(logits.float(), batch.targets) * share(batch.targets, parts.loss.class_weights)
            parts.scaler.scale(loss / in_step).backward()
        loss_sum += loss.detach().to(loss_sum.device)
        broken_at.masked_fill_((broken_at < 0) & ~loss.detach().isfinite(), state.step)  # where() would copy, then wait
        state.batch += 1

        # one step for `accumulate` batches, or for those that are left in the epoch
        if last:
            if params.clip_gradient:
                parts.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(parts.model.parameters(), params.clip_gradient)
            parts.scaler.step(optimizer)
            parts.scaler.update()
            optimizer.zero_grad(set_to_none=True)
            update_average(parts.average, parts.model, params.ema)
            state.step += 1
            check = state.step % STEPS_BETWEEN_CHECKS == 0
            if check:
                _refuse_nan(job, int(together(broken_at, ReduceOp.MAX)), rate)
            due = time.monotonic() - saved > SECONDS_BETWEEN_SAVES
            if due if ranks() == 1 else check and by_first(partial(bool, due)):  # all at the same step
                now = time.monotonic()
                state.loss_sum, state.seconds = float(mean_of(loss_sum)), state.seconds + now - start
                _save(parts, state)
                start = saved = now
    broken = int(together(broken_at, ReduceOp.MAX))
    _refuse_nan(job, broken, _last_rate(parts, state))
    state.seconds += time.monotonic() - start
    return float(mean_of(loss_sum)) / total


def train_head(parts: Parts, state: State) -> float:
    """`optimizer: lbfgs`: solve for the head, as the only epoch; returns the loss. Steps are those of L-BFGS."""
    assert parts.solve is not None
    optimum = parts.solve()
    put_head(parts.model, optimum)
    state.step, state.seconds, state.l2 = optimum.steps, optimum.seconds, optimum.l2
    _say(parts.job, f"optimum of the head: {optimum}")
    return optimum.loss


def validate(parts: Parts) -> tuple[np.ndarray, np.ndarray]:
    """Logits, float32 (photos, classes), and targets of the validation photos."""
    store = parts.feed.photos.val
    return np.concatenate(by_all(partial(_logits, parts, part(len(store), PREDICTION_BATCH)))), store.targets


@torch.inference_mode()
def _logits(parts: Parts, rows: range) -> np.ndarray:
    parts.model.eval()
    logits = [torch.empty(0, len(parts.feed.photos.val.labels))]
    for batch in parts.feed.validation(rows):
        with parts.compute.autocast():
            logits.append(parts.feed.logits(batch, training=False).float().cpu())
    return torch.cat(logits).numpy()


# --- the result ---


def _finish(parts: Parts, state: State, initial: InitialWeights, photos: Photos) -> None:
    """Make the model of the best checkpoint on disk, write it, and check its score against the logged one."""
    job, model, best = parts.job, parts.model, state.best
    val = {"weighted_f1": best.val_weighted_f1, "accuracy": best.val_accuracy}
    wise: dict[str, Any] | None = None
    model.load_state_dict(_undamaged(best_file(parts.folder, best.epoch)), strict=False)
    if job.params.wise is not None:
        start = _undamaged(parts.folder / START)
        mean = average_with_start(model, start, job.params.wise, partial(validate, parts))
        _say(job, f"wise: {mean}")
        val = {"weighted_f1": mean.weighted_f1, "accuracy": mean.accuracy}
        wise = {"share": mean.share, "val_weighted_f1": {f"{share:g}": score for share, score in mean.tried.items()}}
    info = describe(job.name, model, initial, sha256_file(job.initial), photos)
    found = {"best_epoch": best.epoch, "l2": state.l2, "val": val, "wise": wise}
    by_first(lambda: write_checked(job.out, model, info | found, parts.feed, state.history))
    _say(
        job,
        f"best epoch {best.epoch}: val weighted F1 {val['weighted_f1']:.4f}, as logged; {state.seconds:.1f} s in "
        f"training, {parts.feed.prefix_seconds:.1f} s in the frozen prefix",
    )


def _undamaged(file: Path) -> dict[str, torch.Tensor]:
    try:
        tensors, _ = load_tensors(file)
    except DamagedError as error:
        raise UserError(f"{error} was damaged on disk; run `dvc repro` again.") from None
    return tensors


# --- helpers ---


def _optimizer(groups: list[dict[str, Any]], params: ModelParams, compute: Compute) -> torch.optim.Optimizer:
    if params.optimizer == "lbfgs":
        return torch.optim.SGD(groups, lr=0.0)  # for the saved state; it never steps
    options: dict[str, Any] = {"momentum": params.momentum} if params.optimizer == "sgd" else {}
    return OPTIMIZERS[params.optimizer](groups, lr=params.rate, fused=compute.on_gpu, **options)


def _steps_per_epoch(parts: Parts) -> int:
    return -(-parts.feed.batches_per_epoch // parts.job.params.accumulate)


def _last_rate(parts: Parts, state: State) -> float:
    """Of the step before; not read from the optimizer, which a run that was killed after that step has not run."""
    if parts.job.params.optimizer == "lbfgs":
        return 0.0
    return rate_at(max(0, state.step - 1), _steps_per_epoch(parts), state.scores, parts.job.params)


def _save(parts: Parts, state: State) -> None:
    moving = moving_tensors(parts.model)
    by_first(lambda: save_state(parts.folder, state, moving, parts.average, parts.optimizer, parts.scaler))


def _refuse_nan(job: TrainingJob, broken_at: int, rate: float) -> None:
    if broken_at >= 0:
        raise UserError(
            f"the loss is NaN or infinite at step {broken_at} (rate {rate:.2e}); lower models.{job.name}.rate, raise "
            "warmup_epochs, set clip_gradient: 1.0, or use precision: fp32."
        )


def _say(job: TrainingJob, text: str) -> None:
    print(f"{job.name}: {text}", flush=True)
