"""Movies: frames of videos, exactly, their clocks put on one."""
