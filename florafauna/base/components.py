"""Which rows of a table belong together, because they share a value."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def components(links: Sequence[pd.Series]) -> np.ndarray:
    """Component number of each row; rows with the same value (not "") of a column are linked.

    >>> components([pd.Series(["a", "b", "", ""]), pd.Series(["x", "x", "y", ""])]).tolist()
    [0, 0, 1, 2]
    """
    size = len(links[0])
    rows, nodes, first = [np.arange(0)], [np.arange(0)], size
    for values in links:
        present = np.flatnonzero((values != "").to_numpy())
        codes, uniques = pd.factorize(values.iloc[present])
        rows.append(present)
        nodes.append(codes + first)
        first += len(uniques)
    row, node = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(row), dtype=np.int8), (row, node)), shape=(first, first))
    _, component = connected_components(graph, directed=False)
    return np.asarray(component[:size])
