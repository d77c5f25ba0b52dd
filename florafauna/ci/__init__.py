"""The checks of a pull request, without training photos or a GPU: python -m florafauna.ci STEP."""

from florafauna.base.cores import share_cores

share_cores()  # before torch is loaded
