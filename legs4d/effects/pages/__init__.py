"""Pages by which people judge: sheets, plots, timelines."""
