"""From pictures to what an encoder says of them: crops, changes, grids."""
