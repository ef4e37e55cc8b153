"""A small video-text encoder whose weights come with the package: `encoder.TinyEncoder`. See MODEL_CARD.md."""
