"""Randomness that depends on what it is for, never on what was drawn before or on which worker draws."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from numpy.random import PCG64
from numpy.random.mtrand import get_bit_generator, set_bit_generator


def rng_key(seed: int, epoch: int, name: str) -> int:
    """63 bits that depend on the seed, the epoch and a name (such as a photo's path) and on nothing else."""
    digest = blake2b(f"{seed}\0{epoch}\0{name}".encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def global_random_state(key: int) -> Iterator[None]:
    """Seed `random` and `numpy.random` for a library that draws from them (timm's RandAugment), then restore them."""
    python_state, numpy_generator = random.getstate(), get_bit_generator()
    random.seed(key)
    set_bit_generator(PCG64(key))  # 14 µs; saving, seeding and restoring the state takes 94 µs
    try:
        yield
    finally:
        random.setstate(python_state)
        set_bit_generator(numpy_generator)
