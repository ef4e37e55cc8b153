"""Steps that are captured in CUDA graphs: nothing in them waits for the host."""
