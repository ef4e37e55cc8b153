"""How an object moves: nodes whose poses are found frame after frame, by flow first, then by rendering."""
