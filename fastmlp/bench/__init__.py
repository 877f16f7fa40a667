"""fastmlp beside every peer that is installed, in one run: ratios, and the share of the limit."""

from .compare import Row, compare, speed_table
from .peak import fma_peak
from .picture import save_speed
from .profile import Profile, ProfileRow, profile_step
from .workloads import WORKLOADS, Workload, with_precision

__all__ = [
    "WORKLOADS",
    "Profile",
    "ProfileRow",
    "Row",
    "Workload",
    "compare",
    "fma_peak",
    "profile_step",
    "save_speed",
    "speed_table",
    "with_precision",
]
