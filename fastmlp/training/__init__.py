"""Training: what `MLP.fit` is asked for, what an epoch goes over, and the loop over epochs.

**Against overfitting, and around the steps**, as arguments of ``net.fit``:

============================  ====================================================================
argument                      does
============================  ====================================================================
``dropout=0.5``               leaves that share of hidden activations out of a step; or a rate per
                              hidden layer
``l1=1e-5, l2=1e-4``          penalties on the weights, biases excluded
``clip_norm=1.0``             scales a gradient down whose norm, over all parameters, is larger
``max_norm=3.0``              after a step, scales every neuron's incoming weights down to that
                              norm
``label_smoothing=0.1``       spreads that share of a target over all classes
``class_weight="balanced"``   or a dict of weights by label; times ``sample_weight``
``early_stopping=True``       or ``fastmlp.EarlyStopping("val_loss", patience=10)``: ends the run
                              and goes back to the best epoch; holds a tenth of the samples out
                              where there are no validation data
``metrics=["f1", function]``  measured after every epoch, kept as ``history["val_f1"]``
``callbacks=[...]``           called on the way: `fastmlp.callbacks`
``resume=True``               goes on with the run that a checkpoint holds; ``epochs`` is then its
                              whole length
``on_divergence="raise"``     a loss that turns NaN or infinite raises `fastmlp.DivergenceError`,
                              which names epoch and step; ``"restore"`` goes back to the last finite
                              parameters and ends with a warning, ``"ignore"`` goes on
``threads=`` (of `MLP`)       how many threads; by default the fit finds out what is quickest
``precision=`` (of `MLP`)     ``"medium"`` multiplies bfloat16 in wide layers, up to twice as fast
                              where the processor can: `fastmlp.kernels`
============================  ====================================================================

Ctrl-C ends the run after a whole step, however often it is pressed, with a warning and the history
so far; imports and compilations are finished first.

**The first fit** compiles for a moment and keeps the result in a cache folder. ``fastmlp info``
names it, and the environment variable ``FASTMLP_CACHE_DIR`` moves it. ``backend="numpy"`` of `MLP`
trains with the reference instead, with the same draws and the same order of samples.

**A data frame** may be X. ``net.feature_names`` keeps its columns' names. Other frames are put in
that order, and a column that is missing or new is an error.

**Data larger than memory.** ``fit`` reads a `numpy.memmap` as it is, and takes chunks, one at a
time: ``net.fit(chunks)``, where ``chunks`` is a list of ``(X, y)`` or a function that returns an
iterator of them for every epoch. Batches are cut, and shuffled, within a chunk; the last, smaller
batch of a chunk counts. A list is checked and counted before anything changes. Those of an iterator
are checked as they come: where one is refused, the network has been trained on those before it. A
schedule that moves within an epoch has them counted in a pass of their own.

**Many networks on the same data**, as a search over seeds or learning rates needs them:
`fastmlp.fit_many` trains one network a core, all from one copy of the data, and each to the bits it
would have alone. Architectures may differ. Of all arguments of ``fit``, a list holds one value per
network; anything else is for all. Where one fails, the others are trained to the end before the
error comes, which names it.

>>> import fastmlp
>>> from fastmlp.datasets import load_mnist
>>> data = load_mnist("uint8")
>>> rates = [0.0003, 0.01]
>>> nets = [fastmlp.MLP((784, 16, 10), input_scale=255.0, rng=0) for _ in rates]
>>> histories = fastmlp.fit_many(
...     nets,
...     data.x_train[:5000],
...     data.y_train[:5000],
...     epochs=2,
...     optimizer=[fastmlp.Adam(rate) for rate in rates],
...     validation_data=(data.x_test, data.y_test),
... )
>>> best = {rate: max(h.val_accuracy) for rate, h in zip(rates, histories, strict=True)}
>>> best[0.01] > 0.85 > best[0.0003]
True

**Inside**, `options` checks the arguments, `trainer` runs the epochs over `samples` and measures by
`evaluation`; `history`, `divergence` and `interrupts` are what it keeps, watches for and heeds.
`many` trains many networks at once.
"""
