"""Models of sentence order by name: ``order:EMBEDDING`` and ``entity_grid``."""

from collections.abc import Callable, Sequence

from textgym.errors import UnknownNameError
from textgym.models.entity_grid import EntityGrid
from textgym.models.order import OrderDiscriminator
from textgym.types import Arrays, Embedding, OrderModel

NAMES = ("entity_grid", "order:lsa:64")
"""What a model of order may be called; after ``order:`` stands any embedding of the context."""


def fit_order_model(name: str, documents: Sequence[Sequence[str]], embedding: Callable[[str], Embedding]) -> Arrays:
    """Fits the model of order of a name; imports scikit-learn.

    Args:
        name: ``entity_grid``, or ``order:EMBEDDING``, e.g. ``order:lsa:64``.
        documents: the sentences of each document, in order.
        embedding: gives the embedding of a name.

    Raises:
        UnknownNameError: no model of order has that name.
        CorpusError: too few documents of three sentences.
    """
    kind, argument = _find(name)
    if kind == "entity_grid":
        return EntityGrid.fit(documents).to_arrays()
    from textgym.models.order_fitting import fit_order

    return fit_order(documents, embedding(argument)).to_arrays()


def order_model_from_arrays(name: str, arrays: Arrays, embedding: Callable[[str], Embedding]) -> OrderModel:
    """The model whose arrays `fit_order_model` made under that name.

    Raises:
        UnknownNameError: no model of order has that name.
        CheckpointError: the arrays are not those of such a model.
    """
    kind, argument = _find(name)
    if kind == "entity_grid":
        return EntityGrid.from_arrays(arrays)
    return OrderDiscriminator.from_arrays(arrays, embedding(argument))


def _find(name: str) -> tuple[str, str]:
    kind, _, argument = name.partition(":")
    if (kind == "entity_grid" and not argument) or (kind == "order" and argument):
        return kind, argument
    raise UnknownNameError("model of order", name, NAMES)
