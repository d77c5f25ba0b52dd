"""Every score is a pure function of saved logits; one module a question. Nothing here imports torch."""
