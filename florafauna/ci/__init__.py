"""The checks of a pull request, without training photos or a GPU: python -m florafauna.ci STEP."""
