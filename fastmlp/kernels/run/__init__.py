"""Running programs: the executor, the memory it works on, and who chooses what is run."""
