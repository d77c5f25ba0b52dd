"""The screening: which of many backbones is worth training, and whether more photos would help."""
