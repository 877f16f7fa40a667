"""LLVM IR only: what a kernel computes. Nothing here runs at training time, or chooses anything.

`flow` is control flow, `simd` and `vector_math` are vectors of one processor, whose width and tile
stand in `target`. `records` names the fields of a kernel's argument record. Kernels of dense layers
are in `microkernel` (the tile), `gemm` (over whole matrices), `packing` and `packed_gemm` (wide
ones) and `gemv` (one sample); of inputs with many zeros in `csr` (finding the non-zeros) and
`sparse`; of arrays as they lie in `matrix_product` and `rows`; the others in `elementwise`,
`losses`, `regularization`; what they have in common in `activations` and `optimizers`. `executor`
runs programs, on `threads`.
"""
