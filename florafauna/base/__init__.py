"""What every room uses: errors in one sentence, whole files, params, randomness by key, progress, metrics."""
