r"""The mathematics of fastmlp in plain NumPy: the specification that the kernels are held against.

Nothing here knows of Numba or of the compiled side. Formulas stand here and nowhere else.

**Forward.** A batch of n samples is a matrix with one row per sample. With weights :math:`W_l` of
shape (n_in, n_out) and biases :math:`b_l`, layer l of L computes

.. math::

    a_0 = X, \qquad z_l = a_{l-1} W_l + b_l, \qquad a_l = f_l(z_l)

and the output :math:`a_L` is softmax, sigmoid or identity of the logits :math:`z_L`. Softmax takes
the largest logit off first, so that nothing overflows:

.. math::

    \mathrm{softmax}(z)_j = \frac{e^{z_j - m}}{\sum_k e^{z_k - m}}, \qquad m = \max_k z_k

**Loss.** It is summed over a sample's outputs and averaged over samples, with weights
:math:`w_i` (1 by default):

.. math::

    L = \frac{\sum_i w_i L_i}{\sum_i w_i} + \lambda_1 \sum_l |W_l|
        + \frac{\lambda_2}{2} \sum_l W_l^2

======================  =====================================================================
loss                    of one sample, with targets y
======================  =====================================================================
cross_entropy           :math:`-\sum_j y_j \log a_j`
binary_cross_entropy    :math:`-\sum_j \left(y_j \log a_j + (1 - y_j) \log(1 - a_j)\right)`
squared_error           :math:`\frac{1}{2} \sum_j (a_j - y_j)^2`
absolute_error          :math:`\sum_j |a_j - y_j|`
poisson                 :math:`\sum_j \left(e^{a_j} - y_j a_j\right)`
======================  =====================================================================

huber is squared_error where :math:`|a_j - y_j| \le 1` and :math:`|a_j - y_j| - \frac{1}{2}` beyond.

**Backward.** With :math:`\delta_l = \partial L / \partial z_l` and the sum over samples in the
matrix product,

.. math::

    \delta_L &= a_L - y \\
    \delta_l &= (\delta_{l+1} W_{l+1}^T) \circ f_l'(z_l) \\
    \frac{\partial L}{\partial W_l} &= a_{l-1}^T \delta_l, \qquad
    \frac{\partial L}{\partial b_l} = 1^T \delta_l

The first line holds for softmax, sigmoid and identity outputs under their own loss.

**Step.** With gradient g, learning rate :math:`\eta` and t steps taken,

==========  =========================================================================
optimizer   a step on a parameter w
==========  =========================================================================
SGD         :math:`w \leftarrow w - \eta g`
momentum    :math:`v \leftarrow \mu v - \eta g`, :math:`w \leftarrow w + v`
AdaGrad     :math:`s \leftarrow s + g^2`,
            :math:`w \leftarrow w - \eta g / (\sqrt{s} + \epsilon)`
RMSProp     :math:`s \leftarrow \rho s + (1 - \rho) g^2`, then as AdaGrad
Adam        :math:`m \leftarrow \beta_1 m + (1 - \beta_1) g`,
            :math:`u \leftarrow \beta_2 u + (1 - \beta_2) g^2`,
            :math:`w \leftarrow w - \eta \hat m / (\sqrt{\hat u} + \epsilon)`
            with :math:`\hat m = m / (1 - \beta_1^t)`, :math:`\hat u = u / (1 - \beta_2^t)`
AdamW       first :math:`W \leftarrow (1 - \eta \lambda) W`, then as Adam
==========  =========================================================================

**Precision.** Lower ones than the highest compute wide layers' products, in steps of training, of
operands rounded to bfloat16: see `fastmlp.reference.products`.

**Conventions.**

- Penalties and AdamW's decay leave biases alone.
- Momentum keeps the velocity in units of the step, as scikit-learn and Keras do.
- ``gelu`` is its tanh form.
- ``poisson`` takes the output for the logarithm of the rate, so ``predict`` returns logarithms.
- ``accuracy`` of a sigmoid output is the share of samples whose labels are all right.
- The full batch takes samples in their own order: another order would change nothing but speed.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # type checkers and editors see the description that both backends share
    from ..contract.signatures import *  # noqa: F403
else:
    from .activations import activate
    from .backprop import forward, loss_and_gradients
    from .dense import dense, dense_backward
    from .epoch import train_epoch
    from .losses import output_loss, softmax, softmax_cross_entropy
    from .optimizers import optimizer_step

__all__ = [
    "activate",
    "dense",
    "dense_backward",
    "forward",
    "loss_and_gradients",
    "optimizer_step",
    "output_loss",
    "softmax",
    "softmax_cross_entropy",
    "train_epoch",
]
