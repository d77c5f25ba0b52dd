"""Photos as files: where they lie (folders, archives), what counts as one, upright RGB, worker processes."""
