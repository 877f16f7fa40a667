"""The numbers that the drivers work with: shapes of the target, kernels, columns of tables.

Numba reads plain integers of a module, not attributes of a class, so each stands here once.
"""

from __future__ import annotations

from ._target import current_target
from .table import NUMBER
from .workspace import Layer

MR = current_target().tile_rows
NV = current_target().tile_vectors
VECTOR = current_target().vector_bytes
BLOCK = 16  # rows of W that belong together

FORWARD, BACKWARD, UPDATE = (NUMBER[f"tile_{n}_1"] for n in ("forward", "backward", "update"))
GATHER = NUMBER["gather_u8"]
BIAS_UPDATE, OPTIMIZER, TRANSPOSE = (
    NUMBER["bias_update"], NUMBER["optimizer"], NUMBER["transpose_block"],
)  # fmt: skip
OUTPUT, ADD_ROWS = NUMBER["output"], NUMBER["add"]
DROPOUT, PENALTIES, GRADIENT_SQUARES, CLIP, LIMIT_COLUMNS = (
    NUMBER["dropout"], NUMBER["penalties"], NUMBER["gradient_squares"], NUMBER["clip"],
    NUMBER["limit_columns"],
)  # fmt: skip
SOFTMAX_LABELS, SOFTMAX_TARGETS, ELEMENTWISE = (
    NUMBER["softmax_labels"], NUMBER["softmax_targets"], NUMBER["elementwise_loss"],
)  # fmt: skip

# of lists whose values are coded; those of plain values follow
SPARSE_FORWARD, SPARSE_GRADIENT, BY_FEATURE = (
    NUMBER["sparse_forward_codes_1"], NUMBER["sparse_gradient_codes_1"], NUMBER["by_feature_codes"],
)  # fmt: skip
FEATURE_UPDATE, PREFETCH, LIST_ROWS, MAP = (
    NUMBER["feature_update_1"], NUMBER["prefetch_codes"], NUMBER["list_rows"],
    NUMBER["map_activation"],
)  # fmt: skip

(N_IN, N_OUT, BLOCKS, VECTORS_IN, VECTORS_OUT, W, LD_W, BIAS, WT, LD_WT, A, LD_A, H, LD_H, D,
 SLOPE, KEPT, CODE, HAS_BIAS, KEPT_CODE, THRESHOLD, FACTOR) = range(Layer.COLUMNS)  # fmt: skip


# The scalars a driver takes, by their place in the table of settings.
(S_X, S_LD_X, S_X_KIND, S_X_SCALE, S_ROWS, S_ORDER, S_Y, S_LD_Y, S_WEIGHT, S_LOSS_KIND,
 S_LOSS_CODE, S_LOSSES, S_CORRECT, S_PENALTIES, S_HYPER, S_OPTIMIZER, S_STATE, S_GRADIENT,
 S_PENALTY, S_ITEM, S_CHUNK, S_OUT, S_LD_OUT, S_OUT_CODE, S_SPREAD, S_BYTES,
 S_GROUPS, S_GROUP_SAMPLES, S_LISTS, S_N_CUTS, S_LIST_BLOCK, S_INDEX_STARTS, S_INDEX_CUTS,
 S_INDEX_COLUMNS, S_INDEX_VALUES, S_TABLE, S_PANELS, S_PANEL_W, S_PANEL_STATE, S_PANEL_GRADIENT,
 S_COUNTS, S_LISTED, S_LD_LISTED, S_BATCH, S_PLACE, S_WORDS, S_HIDDEN, S_COEFFICIENTS, S_WHOLE,
 S_CLIP, S_LIMIT, S_NORMS, S_N_NORMS, S_CLIPPED, S_SLOTS, S_TEAM,
 S_REGIONS, S_PORTION, S_LD_COUNTS) = range(59)  # fmt: skip
SETTINGS = 59
