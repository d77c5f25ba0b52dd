"""The command line: `florafauna check`, `predict`, `export`, `serve`, and the summary of a run."""
