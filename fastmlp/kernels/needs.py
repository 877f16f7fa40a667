"""Which groups of kernels and which regions a job needs: only these are compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..architecture import Architecture
from ..regularization import Regularization
from .drivers import BATCH_REGIONS
from .finish import apply_region, limit_region, norms_region
from .full_batch import FULL_REGIONS
from .index import Index
from .lists import forward_panels
from .outputs import ELEMENTWISE
from .source import Source
from .steps import step_regions
from .table import forward_group

__all__ = [
    "inference_groups",
    "input_group",
    "list_kind",
    "training_groups",
    "training_regions",
]


def list_kind(index: Index | None) -> str | None:
    """Return what lists of non-zeros hold: "codes" or "values"; None without lists."""
    if index is None:
        return None
    return "codes" if index.table.size else "values"


def input_group(source: Source) -> list[str]:
    """Return the group that gathers rows of the data: none where there are only lists."""
    return [] if source.listed else [f"gather {source.kind}"]


def inference_groups(
    architecture: Architecture, source: Source, y: np.ndarray | None, lists: str | None
) -> list[str]:
    """Return the groups for going forward in tiles, and for the losses where `y` is given."""
    groups = ["common", forward_group("forward", architecture.activations), *input_group(source)]
    if lists is not None:
        groups.append(f"lists of {lists}")
    if y is not None and _by_targets(architecture, y):
        groups.append("targets")
    return groups


def training_groups(
    architecture: Architecture, source: Source, y: np.ndarray, lists: str | None, *,
    rule: str, mode: str, panels: bool, regularization: Regularization,
) -> list[str]:  # fmt: skip
    """Return the groups for steps of the optimizer `rule`, one after the other in `mode`."""
    groups = inference_groups(architecture, source, y, lists)
    if mode == "single":
        groups += ["online", forward_group("online forward", architecture.activations)]
    groups.append(f"update:{rule}")
    if panels:
        groups.append(f"feature update:{rule}")
    elif lists is not None:
        groups.append(f"gradient of {lists}")
    if regularization.dropout:
        groups.append("dropout")
    if regularization.whole:
        groups.append("whole gradient")
    return groups


def training_regions(
    mode: str,
    *,
    panels: bool,
    in_chunks: bool,
    trained: bool,
    parallel: bool,
    regularization: Regularization,
) -> tuple[Any | None, ...]:
    """Return the regions of the driver for `mode`; None for those that no step enters."""
    if mode == "single":
        return ()
    r = regularization
    entered = {
        forward_panels: panels,
        norms_region: trained and r.clip_norm is not None,
        apply_region: trained and (mode == "full" or in_chunks or r.whole),
        limit_region: trained and r.max_norm is not None,
    }
    regions = FULL_REGIONS if mode == "full" else BATCH_REGIONS
    chosen = (region if entered.get(region, True) else None for region in regions)
    return *chosen, *step_regions(mode == "full", parallel)


def _by_targets(architecture: Architecture, y: np.ndarray) -> bool:
    return y.ndim == 2 or (architecture.output, architecture.loss) in ELEMENTWISE
