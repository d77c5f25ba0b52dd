"""What is checked on a pull request, without the training photos and without a GPU: python -m florafauna.ci STEP."""
