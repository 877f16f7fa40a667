"""The speed of fastmlp over time, for asv: operations, recipes' epochs, and the first result.

Arrays are built in ``setup``, and what is compiled is compiled there, so that a steady state is
timed; compiling and loading compiled code have benchmarks of their own.
"""
