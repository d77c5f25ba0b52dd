"""Where the arithmetic runs and in which precision."""

import ctypes
import importlib
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from florafauna.base.cores import usable_cores
from florafauna.base.errors import UserError

# Multiply-adds, about 10 ms of one core. Below it threads save nothing, and where other programs use the cores too each
# waits for one that does not run (300 steps of a head of 12 × 64 on 1,910 photos: 13 s on two threads, 0.2 s on one).
WORTH_THREADS = 1e8
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Compute:
    """A device and a precision (bf16 | fp16 | fp32)."""

    device: torch.device
    precision: str

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision for the forward pass; a no-op for fp32."""
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision], enabled=self.precision != "fp32")

    def place(self, model: Module) -> Module:
        """Move the model to the device, its convolutions to channels_last."""
        return model.to(self.device).to(memory_format=torch.channels_last)

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy the tensor to the device; to a GPU from page-locked memory, while the program runs on."""
        if not self.on_gpu:
            return tensor
        if not self.pins:
            return tensor.to(self.device)
        return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(self.device, non_blocking=True)

    @property
    def pins(self) -> bool:
        """Whether page-locked memory is copied to the device while the program runs on; Apple's GPUs share memory."""
        return self.device.type in ("cuda", "xpu")

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU: CUDA, ROCm (which torch calls cuda, too), Apple's MPS, Intel's XPU."""
        return self.device.type != "cpu"

    @property
    def float64_device(self) -> torch.device:
        """Where float64 can be computed: on the device, but for Apple's GPUs, which lack it."""
        return torch.device("cpu") if self.device.type == "mps" else self.device

    @property
    def default_workers(self) -> int:
        """Processes that draw views: a GPU has to be fed; on a CPU they would compete with the training itself."""
        return min(8, usable_cores()) if self.on_gpu else 0


def choose(precision: str) -> Compute:
    """A GPU if there is one. `auto`: bf16 where the hardware supports it, otherwise fp16 on a GPU and fp32 on a CPU."""
    gpu = accelerator()
    if gpu is not None:
        if precision == "auto":
            precision = "bf16" if _has_bf16(gpu) else "fp16"
        return Compute(gpu, precision)
    if precision == "fp16":
        raise UserError("precision: fp16 needs a GPU, and this machine has none; use auto, bf16 or fp32.")
    if precision == "auto":
        # Emulated bf16 is slower than fp32. oneDNN's own check covers avx512_bf16, amx and Arm's bf16.
        precision = "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"
    return Compute(torch.device("cpu"), precision)


def accelerator() -> torch.device | None:
    """The kind of GPU that torch finds on this machine, None if there is none."""
    return torch.accelerator.current_accelerator(check_available=True)


def _has_bf16(gpu: torch.device) -> bool:
    """In hardware; torch can ask CUDA and ROCm alone. (Apple's GPUs emulate it.)"""
    return gpu.type == "xpu" or (gpu.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False))


def for_inference(precision: str) -> Compute:
    """As `choose`, but fp16 weights are run in fp32 where there is no GPU; this process then reuses freed memory."""
    reuse_freed_memory()
    return choose("fp32" if precision == "fp16" and accelerator() is None else precision)


def reuse_freed_memory() -> None:
    """Let the C library reuse freed memory instead of returning it to the system. Only glibc can; elsewhere a no-op.

    Otherwise each layer's output of more than 32 MB is mapped anew and its pages are cleared. On two cores, in batches
    of 64, a forward pass at 224 px then takes mobilenetv2_100 28 ms a photo instead of 11, tf_efficientnetv2_s 76
    instead of 57, convnext_tiny 116 instead of 75, vit_small 86 instead of 72. The process keeps its peak memory.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tune is not None:
        tune(M_TRIM_THRESHOLD, 2**31 - 1)
        tune(M_MMAP_MAX, 0)


@contextmanager
def as_many_threads_as_pay(multiply_adds: float) -> Iterator[None]:
    """One CPU thread for operations below `WORTH_THREADS`, the usual number above."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if multiply_adds < WORTH_THREADS else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def peak_memory(compute: Compute) -> int | None:
    """Bytes at the highest since this process began: of the GPU's memory, or of the process; None where unknown."""
    if compute.device.type == "mps":
        return torch.mps.driver_allocated_memory()  # now: a peak is not kept
    if compute.on_gpu:
        return torch.accelerator.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        return _peak_by_psutil()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _peak_by_psutil() -> int | None:
    try:
        memory = importlib.import_module("psutil").Process().memory_info()  # DVC brings psutil
    except ImportError:
        return None
    peak: int | None = getattr(memory, "peak_wset", None)
    return peak


def hardware() -> str:
    """The device's name, as a person would write it under a table."""
    gpu = accelerator()
    if gpu is not None:
        return torch.cuda.get_device_name() if gpu.type == "cuda" else f"{platform.machine()}, {gpu.type}"
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


@contextmanager
def memory_advice(advice: Callable[[], str]) -> Iterator[None]:
    """Turn running out of memory (GPU or CPU) into a `UserError` that ends with `advice()`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        where = str(error).partition(".")[0] if isinstance(error, torch.OutOfMemoryError) else ""
        raise UserError(f"out of memory ({where or 'host'}); {advice()}") from None


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory, of the GPU or the host, did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # how torch's CPU allocator says it on Linux and macOS, and on Windows
    return any(words in str(error) for words in ("can't allocate memory", "not enough memory"))
