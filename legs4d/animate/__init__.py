"""An object of a run made to move as a video shows, by rendering it and comparing."""
