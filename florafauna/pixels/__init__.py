"""The pixel store that stages share, and what a model is shown of it when it is evaluated."""
