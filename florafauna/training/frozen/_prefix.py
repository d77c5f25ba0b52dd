"""The longest frozen prefix of a model: computed once per view and remembered, so that only the rest is run again.

The model is traced with torch.fx and cut where the graph first depends on something trainable. The values that cross
the cut (the pooled features under `trainable: head`, one block's input otherwise) are the prefix's features.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from timm.models._features_fx import get_notrace_functions, get_notrace_modules
from torch import fx, nn

RANDOM_METHODS = {"bernoulli_", "uniform_", "normal_", "random_", "exponential_"}
TOLERANCE = 1e-4  # of the split model's logits against the whole model's, relative to the largest


class NoPrefixError(Exception):
    """The model has no usable frozen prefix; the message is the reason, for the log."""


@dataclass(frozen=True)
class SplitModel:
    """A model cut in two: `prefix(images) -> features`, a tail `(*features) -> logits` for each of its modes.

    They share the parameters of the model they were cut from. The tails follow that model's train()/eval() state.
    """

    prefix: fx.GraphModule
    training_tail: fx.GraphModule
    evaluation_tail: fx.GraphModule
    crossing: tuple[str, ...]  # the names of the values that cross the cut


def split(model: nn.Module, size: int, set_training_modes: Callable[[nn.Module], None]) -> SplitModel:
    """Cut `model` after its longest frozen prefix; `size` is the side of its square input in pixels.

    Raises `NoPrefixError` where nothing is frozen ahead of what is trained, where the model cannot be traced, or where
    the two halves do not give the whole model's logits.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        raise NoPrefixError("every parameter is trained")
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    images = images.to(next(model.parameters()).device)
    try:
        set_training_modes(model)
        training = _cut(model)
        model.eval()
        evaluation = _cut(model)
    except NoPrefixError:
        raise
    except Exception as error:  # tracing runs the model's own code on proxies: it can fail in any way
        raise NoPrefixError(f"the model cannot be traced ({type(error).__name__}: {error})") from None
    if training.crossing != evaluation.crossing:
        raise NoPrefixError("its training and evaluation graphs are cut at different places")
    split_model = SplitModel(evaluation.prefix, training.tail, evaluation.tail, evaluation.crossing)
    with torch.no_grad():
        whole = model(images)
        features = split_model.prefix(images)
        halves = split_model.evaluation_tail(*features)
    if not all(isinstance(value, torch.Tensor) and len(value) == len(images) for value in features):
        raise NoPrefixError("what crosses the cut is not one tensor row a photo")
    if (whole - halves).abs().max() > TOLERANCE * whole.abs().max():
        raise NoPrefixError("the two halves do not reproduce the model")
    return split_model


@dataclass(frozen=True)
class _Halves:
    prefix: fx.GraphModule
    tail: fx.GraphModule
    crossing: tuple[str, ...]


class _Tracer(fx.Tracer):
    """Traces a timm model: its untraceable modules and functions stay whole."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.whole = tuple(get_notrace_modules())

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.whole) or super().is_leaf_module(m, module_qualified_name)


def _cut(model: nn.Module) -> _Halves:
    parameters = list(inspect.signature(model.forward).parameters.values())
    defaults = {parameter.name: parameter.default for parameter in parameters[1:]}
    graph = _Tracer().trace(model, concrete_args=defaults or None)
    for argument in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        _erase_with_users(graph, argument)  # torch.fx asserts that it keeps the default it was traced with
    from_images, open_ = _reach(graph, model)
    # A shape (`x.shape[0]`) is no tensor that could be stored: the tail works it out again from what does cross.
    tail = set(open_) | {node for node in graph.nodes if node.op == "output"}
    frontier = list(tail)
    while frontier:
        for source in frontier.pop().all_input_nodes:
            if source not in tail and (source not in from_images or _is_shape(source)):
                tail.add(source)
                frontier.append(source)
    crossing = tuple(node for node in graph.nodes if node not in tail and any(user in tail for user in node.users))
    if not open_ or any(node.op == "placeholder" for node in crossing):
        raise NoPrefixError("what is trained needs the photos themselves")
    return _Halves(
        _subgraph(model, graph, [node for node in graph.nodes if node not in tail], outputs=crossing),
        _subgraph(model, graph, [node for node in graph.nodes if node in tail], inputs=crossing),
        tuple(node.name for node in crossing),
    )


def _erase_with_users(graph: fx.Graph, node: fx.Node) -> None:
    for user in list(node.users):
        _erase_with_users(graph, user)
    graph.erase_node(node)


def _reach(graph: fx.Graph, model: nn.Module) -> tuple[set[fx.Node], set[fx.Node]]:
    """The nodes that depend on the images, and those that depend on something trainable or random."""
    from_images: set[fx.Node] = set()
    open_: set[fx.Node] = set()
    for node in graph.nodes:
        sources = node.all_input_nodes
        if node.op == "placeholder" or any(source in from_images for source in sources):
            from_images.add(node)
        if node.op != "output" and (_is_open(node, model) or any(source in open_ for source in sources)):
            open_.add(node)
    return from_images, open_


def _is_open(node: fx.Node, model: nn.Module) -> bool:
    """Whether the node itself uses a trainable parameter or draws random numbers in training."""
    if node.op == "get_attr":
        value = _attribute(model, str(node.target))
        return isinstance(value, nn.Parameter) and value.requires_grad
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        random = isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0
        return bool(random) or any(parameter.requires_grad for parameter in module.parameters())
    if node.op == "call_method":
        return str(node.target) in RANDOM_METHODS
    if node.op == "call_function" and "dropout" in getattr(node.target, "__name__", ""):
        return bool(node.kwargs.get("training", True)) and bool(node.kwargs.get("p", 0.5))
    return False


def _is_shape(node: fx.Node) -> bool:
    """Whether the node is a shape, or arithmetic on shapes."""
    if node.op == "call_function" and getattr(node.target, "__name__", "") == "getattr":
        return str(node.args[1]) in ("shape", "device", "dtype", "ndim")
    if node.op == "call_method" and str(node.target) in ("size", "dim"):
        return True
    name = getattr(node.target, "__name__", "")
    arithmetic = {"getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "int", "eq", "ne", "lt", "gt"}
    return (
        node.op == "call_function"
        and name in arithmetic
        and bool(node.all_input_nodes)
        and all(_is_shape(source) for source in node.all_input_nodes)
    )


def _attribute(model: nn.Module, path: str) -> Any:
    value: Any = model
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _subgraph(
    model: nn.Module,
    graph: fx.Graph,
    nodes: list[fx.Node],
    inputs: tuple[fx.Node, ...] = (),
    outputs: tuple[fx.Node, ...] = (),
) -> fx.GraphModule:
    """The given nodes as a module of their own, which shares the model's parameters."""
    part = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {node: part.placeholder(node.name) for node in inputs}
    for node in nodes:
        copies[node] = part.node_copy(node, copies.__getitem__)
    if outputs:
        part.output(tuple(copies[node] for node in outputs))
    return fx.GraphModule(model, part)  # no dead-code elimination: it drops in-place operations (drop path's scaling)
