"""Outside libraries, one file each: rewards as they take them, and theirs as ours."""
