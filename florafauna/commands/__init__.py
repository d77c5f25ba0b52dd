"""The command line: `florafauna check`, `predict`, `export`, `serve`, and the summary of a run."""

from florafauna.base.cores import share_cores

share_cores()  # before torch is loaded
