"""The tables of promises, short and long, made of what the tests have recorded.

``FASTMLP_TEST_RECORD=FILE python -m pytest -m ""`` records outcomes and counts, with
``FASTMLP_FULL_TESTS=1`` the full ones; several runs may add to one file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

# the promise, and in a few words; how it is tested; the files of tests; the counts that they give
PROMISES = (
    ("Kill it anywhere, and go on to the same bits",
     "A run that is killed goes on from its last checkpoint to the same bits.",
     "SIGKILL at random moments of training with checkpoints, for every optimizer and schedule, "
     "with dropout, held-out data, chunks: the file loads, and the resumed run has the bits of "
     "the whole one; so it does from every checkpoint, and for every optimizer with every "
     "schedule, dropout, shuffling and generator. Killed in any call or at any byte of a save, "
     "the file is the old or the new one. A full disk, a folder that cannot be written and calls "
     "that fail keep the old file",
     ("whole/test_kill", "whole/test_saving"),
     ("kills, numpy", "kills, numba", "kills within a save", "combinations resumed, numpy",
      "combinations resumed, numba")),
    ("The same bits",
     "One seed gives the same bits for any number of threads, in one go or resumed.",
     "random networks and data; omp, workqueue and tbb where they are; through, resumed, or "
     "from a file; progress and callbacks; however epochs are cut",
     ("whole/test_determinism", "whole/test_any_network", "training/test_many",
      "training/test_many_failures", "training/test_chunks"),
     ("random networks, each on 1, 2, 3 and 8 threads", "of them on omp with 8 real threads",
      "of them on tbb with 8 real threads", "of them on workqueue with 8 real threads")),
    ("The two backends agree",
     "Compiled code agrees with the NumPy reference: to 1e-12 in float64, to 1e-5 in float32.",
     "every operation in every variant and dtype, on both sides of every edge of a tile; wrong "
     "arguments are the same error",
     ("whole/test_parity", "kernels/emit/test_vector_math", "reference/test_reference",
      "reference/test_optimizers", "reference/test_products"),
     ("operations compared with the reference",)),
    ("Hostile files load right or are refused",
     "A damaged file is refused with an error that names it.",
     "models, safetensors, IDX, CSV, NPZ and NPY, plain and compressed, damaged at random and "
     "where that leads a reader to lines not seen before: one documented error that names the "
     "file, in a second and 500 MB; what loads works; no flipped bit of a file with checksums "
     "goes unseen",
     ("whole/test_hostile_files", "whole/test_crafted_files", "datasets/test_readers",
      "datasets/test_npz",
      "test_persistence", "test_damaged_models"),
     ("damaged files", "flipped bits")),
    ("Hostile arrays work or are named",
     "Data with NaN, infinities or odd shapes work, or the error names the argument.",
     "NaN, infinities, subnormals, huge and constant values; none, one and 10,000 of what can be "
     "counted; every dtype of labels, strides of 0 and below, memory maps, data that another "
     "thread changes",
     ("whole/test_hostile_arrays",), ("fits while another thread writes into X and y",)),
    ("No memory is touched out of range",
     "No memory outside the arrays is touched.",
     "every array between pages that nobody may touch: all shapes of the parity tests, every "
     "kind of step",
     ("whole/test_guard_zones",), ("calls between guard zones",)),
    ("Divergence is seen",
     "A loss that is no longer finite is reported with epoch and step.",
     "epoch and step are named, for every kind of step; the last finite state comes back",
     ("training/test_divergence",), ()),
    ("Threads, forks and signals",
     "Threads, forks and Ctrl-C leave whole steps and no leftovers.",
     "fits in 8 threads at once, fork before, during and after training, spawn, joblib, one core, "
     "on every threading layer; Ctrl-C at any moment leaves whole steps; a thousand fits in a row "
     "leave no memory, file or thread behind",
     ("whole/test_processes", "whole/test_interrupts", "support/test_interrupts",
      "sklearn/test_interrupts", "kernels/run/test_executor", "kernels/run/test_executor_threads"),
     ("moments of Ctrl-C", "places of Ctrl-C", "processes that were interrupted",
      "fits in rows of 1,000")),
    ("No stale or foreign machine code",
     "Compiled code that does not fit the machine or version is never run.",
     "an edit, another version or processor compiles anew; damaged, foreign, missing and "
     "read-only caches; processes that compile at once",
     ("kernels/jit/test_cache", "kernels/jit/test_compiler"), ()),
    ("Older processors",
     "Older processors compute the same operations.",
     "all operations and kinds of step compiled for AVX-512, AVX2 and plain x86-64 without FMA",
     ("whole/test_targets", "kernels/emit/test_assembly"),
     ("operations compared for an older processor",)),
)  # fmt: skip


def counted(name: str, counts: dict[str, dict[str, int]]) -> str:
    """Return a count as text: in full and, where that is less, as CI does it."""
    found = counts[name]
    full, fewer = found.get("full", 0), found.get("reduced", 0)
    here = f" ({fewer:,} in CI)" if 0 < fewer < full else ""
    return f"{full:,}{here} {name}"


def outcomes_of(files: Sequence[str], record: dict[str, Any]) -> Counter[str]:
    """Return how often the tests of these files ended how."""
    starts = tuple(f"tests/{file}.py" for file in files)
    return Counter(outcome for test, outcome in record["tests"].items() if test.startswith(starts))


def result_of(outcomes: Counter[str]) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items()))


def lines(record: dict[str, Any]) -> list[str]:
    """Return the long table of what a record holds."""
    table = ["| promise | how it is tested | cases | last result |", "|---|---|---|---|"]
    for promise, _, how, files, names in PROMISES:
        outcomes = outcomes_of(files, record)
        cases = [f"{outcomes.total():,} tests"]
        cases += [counted(name, record["counts"]) for name in names if name in record["counts"]]
        result = result_of(outcomes) or "not run"
        table.append(f"| {promise} | {how} | {'; '.join(cases)} | {result} |")
    return table


def short_lines(record: dict[str, Any]) -> list[str]:
    """Return the short table: each promise in a few words, its cases in full and its tests."""
    table = ["| promise | cases | tests |", "|---|---|---|"]
    for _, promise, _, files, names in PROMISES:
        outcomes = outcomes_of(files, record)
        counts = [record["counts"][name] for name in names if name in record["counts"]]
        cases = max(outcomes.total(), sum(max(found.values()) for found in counts))
        table.append(f"| {promise} | {cases:,} | {result_of(outcomes) or 'not run'} |")
    return table
