"""Language: encoders, lifting onto Gaussians, codecs, and the field that answers prompts."""
