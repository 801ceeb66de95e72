"""Which reward should be used? Statistics and analyses of reward designs, made from the rows of the benchmark alone."""
