"""Decorators that add a part of your own, in the file that you give to ``--plugins``.

Each takes the name by which suites and results call the part, and gives the function back as it
was. docs/extending.md has an example of each.

Example:
    >>> @simo_cl.register.metric("newest", of="accuracies", meaning="On the newest.", unit="0..1")
    ... def newest(A):
    ...     return A[-1, len(A) - 1]
    >>> float(newest(torch.eye(2)))
    1.0
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from simo_cl.metrics.described import METRICS, READ_OUTS, Direction, Metric, ReadOut
from simo_cl.registry import did_you_mean

if TYPE_CHECKING:
    from simo_cl.models.pooling import Pool
    from simo_cl.report.figures.figure import Section

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]
MeasuredOf = Literal["embeddings", "accuracies"]
FittedOn = Literal["memory", "oracle"]

__all__ = ["data_source", "encoder", "figure", "metric", "read_out"]

# What stands before the slash in names of results, or in place of a read-out.
_RESERVED = (
    "own",
    *("features", "features_centred", "embedding", "embedding_centred"),
    *("train", "cost", "accuracy"),
)


def data_source(name: str, *, description: str, how_to_get: str) -> Decorator[Any]:
    """A function ``load(root)`` that gives a :class:`simo_cl.streams.DataSet`.

    Args:
        name: for suites, as ``data: {name: ...}``.
        description: one line for lists.
        how_to_get: one line for somebody who does not have the data.

    Raises:
        ValueError: the name is taken.

    Example:
        >>> from simo_cl.streams import DataSet, Images
        >>> @simo_cl.register.data_source("grey", description="Grey.", how_to_get="It is drawn.")
        ... def load(root):
        ...     images = torch.full((4, 1, 8, 8), 128, dtype=torch.uint8)
        ...     both = Images(images, torch.tensor([0, 1, 0, 1]))
        ...     return DataSet("grey", train=both, test=both, class_names=("a", "b"), note="grey")
        >>> simo_cl.load_data("grey").num_classes
        2
    """
    from simo_cl.streams.sources import register_data_source

    def add(load: Function) -> Function:
        register_data_source(name, load, description=description, how_to_get=how_to_get)
        return load

    return add


def encoder(name: str, *, pool: Pool | None = None) -> Decorator[Any]:
    """A function ``build(channels, width, norm)`` that gives a module and its number of features.

    Args:
        name: for suites, as ``model: {encoder: ...}``.
        pool: see :func:`simo_cl.models.register_encoder`.

    Raises:
        ValueError: the name is taken.

    Example:
        >>> @simo_cl.register.encoder("one_layer")
        ... def one_layer(channels, width, norm):
        ...     return torch.nn.Conv2d(channels, width, 3), width
        >>> from simo_cl.models import build_encoder
        >>> build_encoder("one_layer", width=16)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 16])
    """
    from simo_cl.models.registry import register_encoder

    def add(build: Function) -> Function:
        register_encoder(name, build, pool)
        return build

    return add


def metric(
    name: str,
    *,
    of: MeasuredOf,
    meaning: str,
    unit: str,
    direction: Direction = "",
    heading: str = "",
    source: str = "",
) -> Decorator[Any]:
    """A function that gives a number after each experience; NaN where it is not defined.

    Args:
        name: in the results; of embeddings with the space before it, as ``features/<name>``, of
            accuracies also with other read-outs before it, as ``knn/<name>``.
        of: "embeddings": it takes points (N, d), a bounded sample of the classes seen, and labels
            (N,), both tensors on the CPU. "accuracies": it takes A (T, E), an array with the
            accuracy on each experience after training on each; joint training has none.
        meaning: a sentence for readers of the report.
        unit: of the values, as "0..1" or "seconds".
        direction: "up" or "down" is better; "" where neither is in itself.
        heading: of its column; default: the name.
        source: of the definition.

    Raises:
        ValueError: the name is taken or reserved, or has other characters than letters, digits,
            spaces, "_", "-" and ".", or ``of`` or ``direction`` is none of those.

    Example:
        >>> @simo_cl.register.metric("norm", of="embeddings", meaning="Mean norm.", unit="0..")
        ... def norm(points, labels):
        ...     return points.norm(dim=1).mean()
    """
    _refuse_reserved("metric", name)
    _refuse_other("of", of, get_args(MeasuredOf))
    _refuse_other("direction", direction, get_args(Direction))

    def add(function: Function) -> Function:
        METRICS.add(
            name,
            Metric(
                name=name,
                heading=heading or name,
                meaning=meaning,
                definition=meaning,
                unit=unit,
                direction=direction,
                source=source,
                family="geometry" if of == "embeddings" else "continual",
                function=function,
            ),
        )
        return function

    return add


def read_out(name: str, *, meaning: str, fitted_on: FittedOn, heading: str = "") -> Decorator[Any]:
    """A function ``classify(train_x, train_y, x)`` on frozen features that gives labels (M,).

    Its arguments are tensors on the CPU: training features (N, d), their labels (N,) and features
    (M, d). Every metric of accuracies is reported of it, as ``<name>/average_accuracy``.

    Args:
        name: before the metrics'.
        meaning: a sentence for readers of the report.
        fitted_on: the strategy's own "memory", or the "oracle" sample of training images of all
            seen classes, which makes it a diagnostic.
        heading: of its column; default: the name.

    Raises:
        ValueError: the name is none that a metric could have, or ``fitted_on`` is neither.

    Example:
        >>> @simo_cl.register.read_out("constant", meaning="The first label.", fitted_on="memory")
        ... def constant(train_x, train_y, x):
        ...     return train_y[:1].expand(len(x))
    """
    _refuse_reserved("read-out", name)
    _refuse_other("fitted_on", fitted_on, get_args(FittedOn))

    def add(classify: Function) -> Function:
        part = ReadOut(name, heading or name, meaning, meaning, fitted_on, classify)
        READ_OUTS.add(name, part)
        return classify

    return add


def figure(name: str, *, title: str, caption: str, section: Section = "result") -> Decorator[Any]:
    """A function ``draw(suite, axes)`` that fills the axes of a figure on the report.

    ``suite.finished_labels`` are the rows of the report, and ``suite.values(label, metric)`` the
    final values of a metric by seed.

    Args:
        name: of its files in ``figures/``.
        title, caption: on the page.
        section: of the page, in which it is the last.

    Raises:
        ValueError: the name is taken or has characters that a metric's may not have, or there is no
            such section.

    Example:
        >>> @simo_cl.register.figure("seeds", title="Every seed", caption="Average accuracy.")
        ... def seeds(suite, axes):
        ...     for label in suite.finished_labels:
        ...         axes.plot(list(suite.values(label, "average_accuracy").values()), "o")
        >>> simo_cl.load_results("results/quickstart").figure("seeds").savefig("seeds.pdf")
    """
    from simo_cl.report.figures import FIGURES
    from simo_cl.report.figures.figure import Section
    from simo_cl.report.figures.own import own_figure

    _refuse_unfit("figure", name)
    _refuse_other("section", section, get_args(Section))

    def add(draw: Function) -> Function:
        FIGURES.add(name, own_figure(name, title, caption, section, draw))
        return draw

    return add


def _refuse_reserved(kind: str, name: str) -> None:
    _refuse_unfit(kind, name)
    if name in _RESERVED:
        raise ValueError(
            f"a {kind} cannot be called {name!r}: names of results are made of it and slashes, and "
            f"{', '.join(_RESERVED)} are the library's own; choose another name"
        )


def _refuse_unfit(kind: str, name: str) -> None:
    """What MLflow takes for no name, or would be a file in another folder."""
    if not re.fullmatch(r"\w[\w .-]*", name):
        raise ValueError(
            f"a {kind} cannot be called {name!r}: a name begins with a letter, a digit or '_' and "
            "goes on with these, spaces, '-' and '.'"
        )


def _refuse_other(argument: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise ValueError(
            f"{argument} is {given!r}; it is one of {', '.join(map(repr, allowed))}."
            f"{did_you_mean(str(given), allowed)}"
        )
