"""One run through every export and every reader at hand."""
