"""Compiling, which knows no network: LLVM (`compiler`), the cache on disk (`cache`), the kernels by
name with their records and addresses (`registry`), and Numba's threads (`threading_layer`).
"""
