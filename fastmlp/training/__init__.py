"""Training: what `MLP.fit` is asked for, what an epoch goes over, and the loop over epochs.

`options` checks the arguments, `trainer` runs the epochs over `samples` and measures by
`evaluation`; `history`, `divergence` and `interrupts` are what it keeps, watches for and heeds.
`many` trains many networks at once. Callbacks are `fastmlp.callbacks`.
"""
