"""What every room uses: one-sentence errors, atomic files, params, keyed randomness, progress, metrics."""
