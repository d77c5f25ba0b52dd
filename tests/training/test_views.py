"""Views: what is random depends on (seed, epoch, photo) alone; what is not random is always the same."""

import random
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from timm.data import create_transform

from florafauna.base.files import sha256_file
from florafauna.model.settings import Augment
from florafauna.photos.sources import open_source
from florafauna.pixels.loading import EvalView, Loader, PixelBatch, View, batches, normalise
from florafauna.pixels.store import PixelStore
from florafauna.preprocess._write import build_store
from florafauna.training._epochs import Epochs, epoch_order
from florafauna.training.augment._view import TrainView, random_erasing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRONG = Augment(rand_augment="rand-m9-mstd0.5-inc1", color_jitter=0.2, vertical_flip=0.3)


def view_with(augment: Augment = STRONG, size: int = 32, seed: int = 0) -> TrainView:
    return TrainView(size, "bicubic", augment, MEAN, seed)


def picture(seed: int = 0, width: int = 70, height: int = 48) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PixelStore:
    folder = tmp_path_factory.mktemp("views")
    for number in range(23):
        Image.fromarray(picture(number, 60 + number, 50)).save(folder / f"{number:02d}.png")
    rows = pd.DataFrame({"path": [f"{number:02d}.png" for number in range(23)], "target": [n % 3 for n in range(23)]})
    rows = rows.assign(label=rows["target"].map(str), width=60 + rows.index, height=50)
    rows = rows.assign(held_out="", group="", cluster="", sha256=[sha256_file(folder / path) for path in rows["path"]])
    build_store(rows, ["0", "1", "2"], open_source(folder), folder / "store", 48)
    return PixelStore(folder / "store")


def all_of(loaded: Iterator[PixelBatch]) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    parts = list(loaded)
    names = [name for part in parts for name in part.names]
    return torch.cat([part.images for part in parts]), torch.cat([part.targets for part in parts]), names


# one photo


def test_a_training_view_differs_between_epochs_photos_and_seeds_and_is_else_the_same() -> None:
    photo, view = picture(), view_with()
    once = view(photo, 3, "a.jpg")
    assert once.shape == (3, 32, 32)
    assert once.dtype == torch.uint8
    assert torch.equal(once, view_with()(photo, 3, "a.jpg"))
    for other in (view(photo, 4, "a.jpg"), view(photo, 3, "b.jpg"), view_with(seed=1)(photo, 3, "a.jpg")):
        assert not torch.equal(once, other)


def test_an_evaluation_view_is_always_the_same() -> None:
    photo, view = picture(), EvalView(32, 0.9, "bicubic")
    assert torch.equal(view(photo, 0, "a.jpg"), view(photo, 5, "b.jpg"))


@pytest.mark.parametrize("policy", [None, "rand-m9-mstd0.5-inc1", "original", "3a", "augmix-m3-w3"])
def test_a_training_view_neither_reads_nor_moves_global_random_state(policy: str | None) -> None:
    view, photo = view_with(Augment(rand_augment=policy, color_jitter=0.3)), picture()
    expected = [view(photo, epoch, "a.jpg") for epoch in range(6)]
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    following = random.random(), np.random.rand(), torch.rand(1)
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    again = [view(photo, epoch, "a.jpg") for epoch in reversed(range(6))]
    assert (random.random(), np.random.rand(), torch.rand(1)) == following
    assert all(map(torch.equal, expected, reversed(again)))


def test_the_crop_and_the_policy_draw_from_different_streams() -> None:
    """Equal streams would tie the size of the crop to whether the policy's first operation is applied."""
    gradient = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 4, 64, 0).repeat(3, 2)
    plain, inverted = (view_with(Augment(rand_augment=policy, horizontal_flip=0)) for policy in (None, "rand-m9-n1"))
    crops = [plain(gradient, epoch, "a") for epoch in range(150)]
    widths = np.array([int(crop.max()) - int(crop.min()) for crop in crops])
    touched = np.array([not torch.equal(crop, inverted(gradient, epoch, "a")) for epoch, crop in enumerate(crops)])
    assert 30 < touched.sum() < 120
    assert abs(np.corrcoef(widths, touched)[0, 1]) < 0.35


def test_without_augmentation_a_training_view_is_the_photo() -> None:
    photo = picture(0, 32, 32)
    none = Augment(scale=(1, 1), ratio=(1, 1), horizontal_flip=0)
    assert np.array_equal(view_with(none)(photo, 0, "a").permute(1, 2, 0), photo)
    flipped = Augment(scale=(1, 1), ratio=(1, 1), horizontal_flip=1, vertical_flip=1)
    assert np.array_equal(view_with(flipped)(photo, 0, "a").permute(1, 2, 0), photo[::-1, ::-1])


@settings(deadline=None, max_examples=80)
@given(
    st.integers(8, 90),
    st.integers(8, 90),
    st.floats(0.05, 1),
    st.floats(0.05, 1),
    st.floats(0.3, 3),
    st.floats(0.3, 3),
    st.integers(0, 2**31),
)
def test_every_shape_and_scale_gives_a_view(
    width: int, height: int, scale1: float, scale2: float, ratio1: float, ratio2: float, seed: int
) -> None:
    augment = Augment(scale=tuple(sorted((scale1, scale2))), ratio=tuple(sorted((ratio1, ratio2))))
    assert view_with(augment, 24, seed)(picture(1, width, height), 0, "a").shape == (3, 24, 24)


def test_crops_cover_the_asked_share_of_the_photo() -> None:
    """The value of a pixel is its column: the spread of a view tells the width of its crop."""
    columns = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 200, 0).repeat(3, 2)
    view = view_with(Augment(scale=(0.25, 0.25), ratio=(1, 1), horizontal_flip=0), 100)
    for epoch in range(20):
        crop = view(columns, epoch, "a").int()
        assert abs(int(crop.max() - crop.min()) - 99) <= 2


def test_policies_do_not_die_at_random() -> None:
    """Pillow 13 refuses to posterize to 0 bits, which timm's RandAugment asks for: 15 operations a view will."""
    view = view_with(Augment(rand_augment="rand-m10-n15-p1.0-inc1"))
    views = [view(picture(), epoch, "a.jpg") for epoch in range(30)]
    assert all(image.shape == (3, 32, 32) for image in views)


@pytest.mark.parametrize(("width", "height"), [(80, 60), (60, 80), (64, 64), (61, 97)])
@pytest.mark.parametrize(("size", "crop_pct"), [(32, 0.875), (48, 0.95), (60, 1.0)])
def test_the_evaluation_view_is_timms(width: int, height: int, size: int, crop_pct: float) -> None:
    photo = picture(2, width, height)
    timms = create_transform((3, size, size), interpolation="bicubic", crop_pct=crop_pct, normalize=False)
    difference = (timms(Image.fromarray(photo)).int() - EvalView(size, crop_pct, "bicubic")(photo).int()).abs()
    assert difference.max() <= 2


# batches


@pytest.mark.parametrize("view", [view_with(), EvalView(32, 0.875, "bilinear")])
def test_batches_do_not_depend_on_workers(store: PixelStore, view: View) -> None:
    order = epoch_order(len(store), 0, 0)
    expected = all_of(batches(store, view, order, 5, epoch=2))
    assert expected[2] == [store.names[row] for row in order]
    assert expected[1].tolist() == store.targets[order].tolist()
    for row, image in zip(order, expected[0], strict=True):
        assert torch.equal(image, view(store.photo(row), 2, store.names[row]))
    for workers in (1, 2):
        found = all_of(batches(store, view, order, 5, epoch=2, workers=workers))
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
        assert found[2] == expected[2]


def test_one_loader_serves_epoch_after_epoch_also_after_a_break(store: PixelStore) -> None:
    loaders = [Loader(store, view_with(), 4, workers) for workers in (0, 2)]
    for epoch in range(2):
        order = epoch_order(len(store), 0, epoch)
        expected, found = (all_of(loader.batches(order, epoch)) for loader in loaders)
        assert torch.equal(found[0], expected[0])
        next(loaders[1].batches(order, epoch))  # given up after the first batch


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_one_after_another_begun_anew_or_left_are_those_of_a_fresh_loader(
    store: PixelStore, workers: int
) -> None:
    def plan(epoch: int) -> tuple[np.ndarray, int]:
        return epoch_order(len(store), 0, epoch), epoch % 3

    epochs = Epochs(Loader(store, view_with(), 4, workers), plan, last=4)
    next(iter(epochs.batches(0, 0)))  # left after the first batch
    for epoch, first in [(0, 0), (1, 0), (1, 0), (2, 2), (3, 0), (0, 1), (4, 0), (7, 0)]:  # 7 is beyond the last
        order, shown = plan(epoch)
        expected = all_of(batches(store, view_with(), order[4 * first :], 4, shown))
        found = all_of(epochs.batches(epoch, first))
        assert torch.equal(found[0], expected[0])
        assert found[2] == expected[2]


def test_the_next_epoch_is_drawn_before_it_is_asked_for(store: PixelStore) -> None:
    asked: list[int] = []

    def plan(epoch: int) -> tuple[np.ndarray, int]:
        asked.append(epoch)
        return np.arange(8), epoch

    epochs = Epochs(Loader(store, view_with(), 4, 1), plan, last=2)
    for epoch in range(3):
        list(epochs.batches(epoch, 0))
        assert max(asked) == min(epoch + 1, 2)


def test_an_epoch_can_be_resumed_in_its_middle(store: PixelStore) -> None:
    order = epoch_order(len(store), 0, 1)
    whole = list(batches(store, view_with(), order, 4, epoch=1))
    rest = list(batches(store, view_with(), order[3 * 4 :], 4, epoch=1))
    assert len(rest) == len(whole) - 3
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole[3:], rest, strict=True))


def test_a_photos_view_does_not_depend_on_the_other_photos(store: PixelStore) -> None:
    everything = all_of(batches(store, view_with(), range(len(store)), 8))
    few = all_of(batches(store, view_with(), [17, 3], 2))
    assert torch.equal(few[0], everything[0][[17, 3]])


def test_training_and_validation_share_no_state(store: PixelStore) -> None:
    """As they do where both are subsets of one dataset, whose second transform replaces the first."""
    rows = range(6)
    training = Loader(store, view_with(), 6)
    validation = Loader(store, EvalView(32, 0.875, "bicubic"), 6)
    first, second = (
        (all_of(training.batches(rows, epoch))[0], all_of(validation.batches(rows, epoch))[0]) for epoch in (0, 1)
    )
    assert not torch.equal(first[0], second[0]), "training is augmented after validation has been read"
    assert torch.equal(first[1], second[1]), "validation is not"


def test_loading_leaves_torchs_random_state_alone(store: PixelStore) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    for workers in (0, 1):
        list(batches(store, view_with(), range(4), 2, workers=workers))
    assert torch.equal(torch.rand(2), expected)


def test_epochs_visit_every_photo_in_their_own_order() -> None:
    orders = [epoch_order(100, 0, epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[1], epoch_order(100, 0, 1))
    assert not np.array_equal(orders[1], epoch_order(100, 1, 1))


# on the batch


def test_normalise() -> None:
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    found = normalise(images, MEAN, STD)
    expected = (images / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, check_stride=False)


def test_what_was_normalised_in_inference_can_be_trained_on() -> None:
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    with torch.inference_mode():
        normalise(images, (0.1, 0.2, 0.3), STD)
    layer = torch.nn.Conv2d(3, 1, 1)
    layer(normalise(images, (0.1, 0.2, 0.3), STD)).sum().backward()
    assert layer.weight.grad is not None


def test_random_erasing_is_drawn_photo_by_photo() -> None:
    images, names = torch.zeros(400, 3, 32, 32), [f"{number}.jpg" for number in range(400)]
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    erased = random_erasing(images.clone(), 0.25, 0, 7, names)
    assert torch.equal(torch.rand(2), expected), "dropout does not depend on it"
    changed = (erased != 0).any(1).flatten(1)
    share = changed.float().mean(1)
    hit = share > 0
    assert 70 <= hit.sum() <= 130
    assert share[hit].min() > 0.01
    assert share[hit].max() < 0.36
    assert abs(float(erased[erased != 0].std()) - 1) < 0.02, "normal noise"
    part = random_erasing(images[:20].clone(), 0.25, 0, 7, names[:20])
    assert torch.equal(part, erased[:20])
    assert not torch.equal(random_erasing(images.clone(), 0.25, 0, 8, names), erased)
    assert torch.equal(random_erasing(images.clone(), 0.0, 0, 7, names), images)
