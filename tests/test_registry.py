"""The table of kernels refuses what it does not have: an address of 0 would be jumped to."""

import pytest

from fastmlp.kernels.jit.registry import KERNELS, kernel_addresses, launch

MISSING = [name for name, (_, emit) in KERNELS.items() if emit is None]


@pytest.mark.parametrize("group", ["forwards", "update:sdg", "", "forwards:linear"])
def test_an_unknown_group_is_refused(group):
    with pytest.raises(ValueError, match="group: expected"):
        kernel_addresses("float32", group)


@pytest.mark.skipif(not MISSING, reason="this processor has every width of tile")
def test_a_kernel_that_was_not_emitted_is_not_called():
    name = MISSING[0]
    with pytest.raises(ValueError, match=f"{name}: this processor"):
        launch(name, "float32", *[0] * KERNELS[name][0])
