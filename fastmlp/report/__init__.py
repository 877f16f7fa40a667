"""A report of a trained network in one HTML file that stands alone; needs the ``plot`` extra."""

from __future__ import annotations

from ._report import make_report, write_report

__all__ = ["make_report", "write_report"]
