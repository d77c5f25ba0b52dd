"""`ci` of params.yaml."""

from florafauna.base.settings import NotNegative, Strict


class CiParams(Strict):
    """What a pull request may lose: `metric` may fall by `max_drop` below its interval on the base branch."""

    max_drop: NotNegative = 0.0
    metric: str = "test.weighted_f1"
