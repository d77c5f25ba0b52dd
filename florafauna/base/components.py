"""Which rows of a table belong together, because they share a value."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SEVERAL = " | "  # between the values of a row that has several, as in Darwin Core


def components(links: Sequence[pd.Series]) -> np.ndarray:
    """Component number of each row; rows with the same value (not "") of a column are linked, also by one of SEVERAL.

    >>> components([pd.Series(["a", "b", "", ""]), pd.Series(["x", "x", "y", ""])]).tolist()
    [0, 0, 1, 2]
    >>> components([pd.Series(["Ada", "Ada | Eve", "Eve", "Adam"])]).tolist()
    [0, 0, 0, 1]
    """
    size = len(links[0])
    rows, nodes, first = [np.arange(0)], [np.arange(0)], size
    for values in links:
        present = np.flatnonzero((values != "").to_numpy())
        texts = values.iloc[present]
        if texts.dtype == "str" and texts.str.contains(SEVERAL, regex=False).any():
            each = texts.str.split(SEVERAL)
            present, texts = np.repeat(present, each.map(len)), each.explode()
        codes, uniques = pd.factorize(texts)
        rows.append(present)
        nodes.append(codes + first)
        first += len(uniques)
    row, node = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(row), dtype=np.int8), (row, node)), shape=(first, first))
    _, component = connected_components(graph, directed=False)
    return np.asarray(component[:size])
