"""Params that only the model or the stored photos show to contradict each other: refused before anything is trained."""

from torch import nn

from florafauna.base.errors import UserError
from florafauna.model.network import classifier_paths
from florafauna.model.ranks import ranks
from florafauna.model.settings import ModelParams
from florafauna.training._feeds import Photos
from florafauna.training.trainable import trains_only_the_head


def refuse_policy(name: str, model: nn.Module, params: ModelParams) -> None:
    """`UserError` where the model `name`, frozen as its params say, cannot learn by its optimizer, or not at all."""
    if params.optimizer == "lbfgs" and not trains_only_the_head(model):
        raise UserError(
            f"models.{name}.optimizer: lbfgs solves the head alone; set trainable: head, or use adam, adamw or sgd."
        )
    heads = classifier_paths(model)
    trains = any(parameter.requires_grad for path in heads for parameter in model.get_submodule(path).parameters())
    if not trains and params.head_init != "probe":
        raise UserError(
            f"models.{name}.trainable leaves out the new classifier ({', '.join(heads)}), which would stay as it "
            f"starts (head_init: {params.head_init}); add head, or set head_init: probe."
        )


def refuse_photos(name: str, photos: Photos) -> None:
    """`UserError` where the model `name` is shown too few photos at once; a line where they are stored too small."""
    if photos.batch_size < 2 * ranks():
        raise UserError(
            f"models.{name}.batch_size ({photos.batch_size}) is shared by {ranks()} processes, and each needs two "
            "photos; raise it, or set FLORAFAUNA_GPUS to fewer."
        )
    size, stored = max(photos.data.train_size, photos.data.test_size), photos.train.store_size
    if size > stored:
        print(
            f"{name}: photos are enlarged to {size} pixels, since image.store_size is {stored}: raise it, or lower "
            "train_size and test_size",
            flush=True,
        )
