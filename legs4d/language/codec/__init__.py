"""Features as a few numbers: the linear codec, the autoencoder of 4-LEGS, and how they are made."""
