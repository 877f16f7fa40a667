"""Training: what `MLP.fit` is asked for, and the loop over epochs."""
