"""Peers' time over fastmlp's on the workloads of ``fastmlp bench``, cut to be quick."""

from __future__ import annotations

from dataclasses import replace

from fastmlp.bench import WORKLOADS, compare
from fastmlp.bench.peers import PEERS, does, installed

# one of each kind: others differ in dtype or source only
NAMES = [name for name in WORKLOADS if name not in ("full-batch-uint8", "wide-float64")]


class Peers:
    """Ratios: above 1 fastmlp is faster. Peers that are not there are left out."""

    params = (NAMES, list(PEERS))
    param_names = ("workload", "peer")
    timeout = 300

    def setup(self, workload: str, peer: str) -> None:
        whole = WORKLOADS[workload]
        if not (installed(peer) and does(peer, whole)):
            raise NotImplementedError(f"{peer} is not installed, or does not do {workload}")
        self.work = replace(
            whole, samples=min(whole.samples, 6000), peer_samples=min(whole.peer_samples, 1000),
            epochs=min(whole.epochs, 100),
        )  # fmt: skip

    def track_ratio(self, workload: str, peer: str) -> float:
        return compare(self.work, [peer]).ratios[peer]

    track_ratio.unit = "times"  # type: ignore[attr-defined]
