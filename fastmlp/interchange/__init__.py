"""Networks from other libraries, and for them: ONNX, safetensors, scikit-learn, PyTorch, Keras.

`fastmlp.MLP` has it as methods: ``to_onnx``, ``to_safetensors`` and, to make a network,
``from_safetensors``, ``from_sklearn``, ``from_torch``, ``from_keras``. `register_skl2onnx` teaches
skl2onnx the estimators of `fastmlp.sklearn`. No framework is imported to read its models.
"""

from __future__ import annotations

from .methods import Interchange, register_skl2onnx

__all__ = ["Interchange", "register_skl2onnx"]
