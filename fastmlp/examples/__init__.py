"""Problems that people bring, each solved in a page that runs in less than a minute.

=========================  ==================================================================
`digits_from_scratch`      the lines of a tutorial in NumPy, and the same training in one call
`uncertain_regression`     early stopping, and how far to trust a value: `fit_many` over seeds
`search`                   sizes, penalty and learning rate by cross-validation; needs ``sklearn``
`larger_than_memory`       training from a file that is never read whole
`onnx_round_trip`          out to ONNX, run there, and back; needs ``export`` and onnxruntime
`reading_a_profile`        where a step's time goes, and which batch size suits the processor
=========================  ==================================================================

``python -m fastmlp.examples.search`` runs one and prints what it found; each has a function
``run`` that returns the same figures.
"""
