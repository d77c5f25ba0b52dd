"""The embedded sample, drawn by a seeded renderer, and the small backbones pretrained on other drawn species."""
