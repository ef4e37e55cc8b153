"""Numbers of `legs4d.motion`, from clips whose truth is known."""
