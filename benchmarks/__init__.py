"""fastmlp over time, for asv: kernels, steps, operations, recipes' epochs, ratios to peers,
memory, and the time to the first result.

Arrays are built in ``setup``, and what is compiled is compiled there, so that a steady state is
timed; compiling and loading compiled code have benchmarks of their own.
"""
