"""The order of work as data: which kernel, on which memory, in which phase and share.

Functions here write programs down (`operation` says what one is) and compute nothing. A step of
gradient descent on a mini-batch is `minibatch.step`; its parts are in `passes` (forward and
backward), `sparse_input` (the first layer over non-zeros) and `post_gradient` (what follows on the
whole gradient). `full_batch`, `per_sample` and `inference` are the other kinds of work. `listing`
says in words what a program does.
"""
