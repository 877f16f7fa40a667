"""A report of a trained network in one HTML file that stands alone; needs the ``plot`` extra.

``fastmlp report digits.npz -o report.html`` writes one page that opens without a connection: what
was trained and how, its curves, what it makes of the test set class by class, what it confuses, its
most confident mistakes, whether its probabilities can be believed, and what its first layer looks
for. It follows light and dark, fits a phone, prints, and is the same to the byte for the same
model, data and machine. `write_report` does it from a program, for regressors and independent
labels too.
"""

from __future__ import annotations

from ._report import make_report, write_report

__all__ = ["make_report", "write_report"]
