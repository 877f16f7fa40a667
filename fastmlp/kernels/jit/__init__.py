"""Compiling, which knows no network: Numba's options and the cache on disk (`cache`), the kernels
by name with their records and addresses (`registry`), all that a job needs compiled before it
begins (`precompile`), and Numba's threads (`threading_layer`).
"""
