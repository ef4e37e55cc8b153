"""How different pictures look to a person."""
