"""Flow matching: from noise to data along straight lines, and how the way is walked."""
