"""Write measured figures into the READMEs: ``python benchmarks/readme.py [PART ...]``.

``reproduce`` runs the published experiments (some minutes), ``bench`` the comparison with every
peer that is installed, keeps it in ``results/``, a file a processor, and draws it into
``speed.png``, ``scaling`` measures how the cost of an
epoch grows (a minute), ``cluster`` holds a model of steps on a cluster against this machine's and
draws it into ``cluster.png``, ``accuracy`` trains with and without dropout; with no argument all of
these are made. Each writes its own part of ``benchmarks/README.md``, and ``bench`` the short one of
the README too. ``promises FILE`` makes the tables of promises, in the README and
``tests/README.md``, from what tests have recorded; ``operations FILE`` that of the operations,
``inference FILE`` that of predictions.
"""

from __future__ import annotations

import json
import platform
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fastmlp.bench import Row

HERE = Path(__file__).parent
PICTURE = HERE / "speed.png"
README, RESULTS = HERE.parent / "README.md", HERE / "README.md"
TESTS = HERE.parent / "tests" / "README.md"
KEPT = HERE / "results"  # a file a processor
_PERCENT = ("test_accuracy", "train_accuracy")
_NAMES = {"test_accuracy": "test", "train_accuracy": "train", "seconds": "time"}


class Result(NamedTuple):
    """What was measured on a processor."""

    machine: str
    rows: list[Row]


def replace(marker: str, lines: list[str], page: Path = RESULTS) -> None:
    """Put `lines` between the two comments of a page that name `marker`."""
    text = page.read_text(encoding="utf-8")
    pattern = rf"(<!-- {marker}: [^\n]*-->\n).*?(<!-- end of {marker} -->)"
    body = "\n".join(lines) + "\n"
    new, count = re.subn(pattern, lambda m: m[1] + body + m[2], text, flags=re.S)
    if count != 1:
        raise SystemExit(f"{page.parent.name}/{page.name} has no single place for {marker}")
    page.write_text(new, encoding="utf-8")


def figures(values: dict[str, Any]) -> str:
    """Return the figures that a table can show, in one cell."""
    shown = [
        f"{_NAMES[name]} {values[name]:.2%}" for name in _PERCENT
        if isinstance(values.get(name), float)
    ]  # fmt: skip
    if isinstance(values.get("seconds"), float):
        shown.append(f"{values['seconds']:.1f} s")
    return ", ".join(shown) or "none"


def reproduce() -> None:
    """Run the published experiments and write their table."""
    from fastmlp.recipes import RECIPES
    from fastmlp.recipes import reproduce as run

    lines = [
        "| experiment | network and training | published | measured | judged |",
        "|---|---|---|---|---|",
    ]
    for result in run():
        description = RECIPES[result.name].description
        measured = {**result.measured, "seconds": float(result.seconds)}
        verdict = "ok" if result.ok else "falls short"
        lines.append(
            f"| `{result.name}` | {description} | {figures(result.published)} | "
            f"{figures(measured)} | {verdict}: {result.note} |"
        )
    replace("reproduce", ["", *lines, "", f"Measured on {machine()}.", ""])


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"


def work_of(workload: str) -> str:
    """Return a workload's network, batch and dtype, in one cell."""
    from fastmlp.bench import WORKLOADS

    work = WORKLOADS[workload]
    sizes = "-".join(map(str, work.layer_sizes))
    source = " from uint8" if work.data == "mnist-uint8" else ""
    batch = "full batch" if work.batch_size is None else f"batch {work.batch_size}"
    if work.predicts:
        batch = f"{work.samples:,} row{'s' * (work.samples > 1)} a call"
    return f"{sizes}, {batch}, {work.dtype}{source}"


def peers_of(rows: Sequence[Row]) -> list[str]:
    """Return the names of all peers; a row may lack some."""
    return list(dict.fromkeys(name for row in rows for name in row.ratios))


def bench_lines(rows: Sequence[Row], peaks: dict[str, float], measured_on: str) -> list[str]:
    """Return the whole comparison, one row per workload."""
    from fastmlp.bench import WORKLOADS

    peers = peers_of(rows)
    table = [
        "| workload | network | fastmlp | " + " | ".join(peers) + " | of peak |",
        "|---" * (4 + len(peers)) + "|",
    ]
    for row in rows:
        ratios = " | ".join(
            f"{row.ratios[name]:.1f}" if name in row.ratios else "" for name in peers
        )
        seconds = row.microseconds * WORKLOADS[row.workload].samples / 1e6
        table.append(
            f"| {row.workload} | {work_of(row.workload)} | {duration(seconds)} | {ratios} | "
            f"{row.share_of_peak:.0%} |"
        )
    limit = ", ".join(f"{dtype} {peak / 1e9:.0f} GFLOP/s" for dtype, peak in peaks.items())
    shown = f"![{picture_says(peers)}]({PICTURE.name})"
    return ["", *table, "", f"Measured on {measured_on}; its peak: {limit}.", "", shown, ""]


def picture_says(peers: Sequence[str]) -> str:
    return f"Time of {', '.join(peers)} over fastmlp's, by workload"


def results() -> list[Result]:
    """Return what was measured, processor by processor."""
    from fastmlp.bench import Row

    kept = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(KEPT.glob("*.json")))
    return [Result(found["machine"], [Row(**row) for row in found["rows"]]) for found in kept]


def speed_lines(results: Sequence[Result]) -> list[str]:
    """Return the comparison in short: the picture, each peer's least and most on every processor
    that was measured, the worst case of all.
    """
    peers = list(dict.fromkeys(name for result in results for name in peers_of(result.rows)))
    table = ["| processor | times as long | " + " | ".join(peers) + " |"]
    table.append("|---" * (2 + len(peers)) + "|")
    for result in results:
        found = {n: [r.ratios[n] for r in result.rows if n in r.ratios] for n in peers}
        for word, of in (("least", min), ("median", statistics.median), ("most", max)):
            cells = [f"{of(ratios):.1f}" if ratios else "" for ratios in found.values()]
            table.append(f"| {result.machine} | {word} | " + " | ".join(cells) + " |")
    ratio, peer, worst, where = min(
        (row.ratios[name], name, row.workload, result.machine)
        for result in results for row in result.rows for name in row.ratios
    )  # fmt: skip
    shown = f"![{picture_says(peers)}](benchmarks/{PICTURE.name})"
    count = max(len(result.rows) for result in results)
    told = f"Of {count} workloads the worst case is `{worst}` on {where}, {work_of(worst)}:"
    return ["", shown, "", *table, "", told, f"there {peer} takes {ratio:.1f} times as long.", ""]


def bench() -> None:
    """Compare with the installed peers, keep the figures, write the tables and draw the picture."""
    from fastmlp.bench import save_speed, speed_table
    from fastmlp.support.extras import require

    require("matplotlib", "plot")  # before minutes of measuring, not after
    rows, peaks = speed_table(note=lambda name: print(name, file=sys.stderr))
    name = re.sub(r"\W+", "-", machine()).strip("-").lower()
    kept = {"machine": machine(), "peaks": peaks, "rows": [row.as_dict() for row in rows]}
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    save_speed(rows, str(PICTURE), machine())
    replace("bench", bench_lines(rows, peaks, machine()))
    replace("speed", speed_lines(results()), README)


def cluster() -> None:
    """Measure steps on local workers and write them beside their model."""
    from cluster_model import draw, lines, measure, networks_of

    costs, rows = measure()
    draw(costs, networks_of(rows), str(PICTURE.with_name("cluster.png")))
    told = (
        f"The model's costs, measured: {costs.ask * 1e3:.1f} ms to ask, {costs.hop * 1e3:.1f} ms "
        f"to hand on, {costs.sent * 1e9:.1f} ms per MB and way, {costs.added * 1e9:.2f} ms per MB "
        "and group; assumed for a cluster: 0.1 ms and 10 Gbit/s from machine to machine."
    )
    picture = "![Modelled speed-up of a step by workers and network](cluster.png)"
    table = lines(costs, rows)
    replace("cluster", ["", *table, "", told, f"Measured on {machine()}.", "", picture, ""])


def scaling() -> None:
    """Measure how the cost of an epoch grows and write the exponents."""
    from scaling import lines, measure

    table = lines(measure(lambda text: print(text, file=sys.stderr)))
    replace("scaling", ["", *table, "", f"Measured on {machine()}.", ""])


def accuracy() -> None:
    """Train a larger network with and without dropout on MNIST; write how well and how long."""
    import numpy as np

    import fastmlp
    from fastmlp.datasets import load_mnist

    data = load_mnist("uint8")
    lines = ["| dropout | test accuracy, seeds 0 to 2 | a fit |", "|---|---|---|"]
    for dropout in (0.0, 0.3):
        found, seconds = [], []
        for seed in range(3):
            net = fastmlp.MLP((784, 512, 256, 10), activation="relu", input_scale=255.0, rng=seed)
            history = net.fit(
                data.x_train, data.y_train, epochs=15, batch_size=128, dropout=dropout,
                optimizer=fastmlp.Adam(0.003), schedule=fastmlp.OneCycle(),
            )  # fmt: skip
            found.append(net.evaluate(data.x_test, data.y_test)["accuracy"])
            seconds.append(sum(history.seconds))
        accuracies = ", ".join(f"{value:.2%}" for value in found)
        lines.append(f"| {dropout} | {accuracies} | {np.median(seconds):.1f} s |")
    replace("accuracy", ["", *lines, "", f"Measured on {machine()}.", ""])


def promises(record: str) -> None:
    """Write what the tests have recorded in a JSON file, in full and in short."""
    from promises import lines, short_lines

    found = json.loads(Path(record).read_text(encoding="utf-8"))
    when = ["", f"Last run {found['date']} on {machine()}.", ""]
    replace("promises", ["", *lines(found), *when], TESTS)
    replace("promises", ["", *short_lines(found), *when], README)


def operations(record: str) -> None:
    """Write what `operations.py` has kept in a JSON file."""
    from operations import LEAST_SECONDS, Case, Measured, lines

    found = [
        Measured(Case(**row["case"]), row["reference"], row["kernels"])
        for row in json.loads(Path(record).read_text(encoding="utf-8"))
    ]
    counted = [m for m in found if m.reference >= LEAST_SECONDS]
    slower = sum(m.ratio < 1 for m in counted)
    text = (
        f"{len(counted):,} of {len(found):,} cases take the reference 15 us or more; in {slower} "
        f"of these it is the faster one. Measured on {machine()}."
    )
    replace("operations", ["", *lines(found), "", text, ""], RESULTS)


def inference(record: str) -> None:
    """Write what `inference.py` has kept in a JSON file."""
    from inference import Measured, lines

    found = [Measured(**row) for row in json.loads(Path(record).read_text(encoding="utf-8"))]
    ratios = [ratio for m in found for ratio in m.ratios.values()]
    text = (
        f"In {sum(ratio < 1 for ratio in ratios)} of {len(ratios)} cases the other is the faster "
        f"one. Measured on {machine()}."
    )
    replace("inference", ["", *lines(found), "", text, ""], RESULTS)


def machine() -> str:
    """Return the processor and the number of cores, as far as the system tells."""
    import os

    from llvmlite.binding import get_host_cpu_name

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*: (.*)", info.read_text())
        name = found[1] if found else name
    return f"{name} ({get_host_cpu_name()}), {os.cpu_count()} cores"


if __name__ == "__main__":
    of_files = {"promises": promises, "operations": operations, "inference": inference}
    if len(sys.argv) == 3 and sys.argv[1] in of_files:
        of_files[sys.argv[1]](sys.argv[2])
        raise SystemExit
    parts = {
        "reproduce": reproduce,
        "bench": bench,
        "scaling": scaling,
        "cluster": cluster,
        "accuracy": accuracy,
    }
    for part in sys.argv[1:] or parts:
        parts[part]()
