"""The motion video as it is read or made: its frames, colours, depths, and whether it can be followed."""
