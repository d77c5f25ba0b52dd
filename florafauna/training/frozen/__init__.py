"""What is frozen is computed once: prefix, remembered features, and the best head over them."""
