"""Layers whose weights lie in memory as oneDNN multiplies them, in place of plain rows that torch hands to MKL.

On AMD's cores, for which MKL has no good code, a photo then takes mobilenetv2_100 4.7 ms in place of 7.9,
tf_efficientnetv2_s 30 and 51, convnext_tiny 47 and 99, vit_small_patch16_224 47 and 91 (four photos of 224 px on one).
The operators are those that torch.compile uses.
"""

from collections.abc import Collection

import torch
from torch import nn


def can_pack() -> bool:
    """Whether torch was built with oneDNN."""
    return torch.backends.mkldnn.is_available()


def pack(model: nn.Module, called: Collection[str]) -> None:
    """In place, the convolutions and linear layers among `called` that are torch's own; nothing without oneDNN.

    Their plain weights are NaN then, so that a model which reads them past the layer is found out.
    """
    if not can_pack():
        return
    for name in called:
        module = model.get_submodule(name)
        if type(module) is nn.Linear:
            packed = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach())
            module.__class__ = _PackedLinear
        elif type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            packed = torch.ops.mkldnn._reorder_convolution_weight(module.weight.detach(), *_geometry(module))
            module.__class__ = _PackedConv2d
        else:
            continue
        module.packed = packed
        nothing = torch.full((1,), torch.nan).expand(module.weight.shape)  # of the shape, in four bytes
        module.weight = nn.Parameter(nothing, requires_grad=False)


def _geometry(module: nn.Conv2d) -> tuple[object, ...]:
    return module.padding, module.stride, module.dilation, module.groups


class _PackedLinear(nn.Linear):
    packed: torch.Tensor

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 the name it has in nn.Linear
        """(…, features), both."""
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, self.packed, self.bias, "none", [], "")
        return result


class _PackedConv2d(nn.Conv2d):
    packed: torch.Tensor

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 the name it has in nn.Conv2d
        """(photos, channels, height, width), both."""
        result: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            input, self.packed, self.bias, *_geometry(self), "none", [], ""
        )
        return result
