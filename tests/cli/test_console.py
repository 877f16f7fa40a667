"""Standard output that cannot take what is said: another encoding, a full disk."""

from __future__ import annotations

import errno
import io
import sys

import pandas as pd
import pytest

from fastmlp.cli import main
from fastmlp.cli.console import Console


@pytest.mark.parametrize(
    ("encoding", "city", "escaped"), [("ascii", "Köln", r"K\xf6ln"), ("cp1252", "Łódź", r"\u0141")]
)
def test_letters_that_an_output_lacks_are_escaped_or_refused(
    here, capsys, monkeypatch, encoding, city, escaped
):
    frame = pd.DataFrame({"x": range(40), "label": ["Rom", city] * 20})
    frame.to_csv("t.csv", index=False)
    said = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", said)
    assert main(["train", "t.csv", "--plot", "none", "--epochs", "1"]) == 0
    assert main(["evaluate", "model.skops", "t.csv"]) == 0
    text = said.buffer.getvalue().decode(encoding)
    assert "2 classes (Rom 20, " in text
    assert escaped in text.splitlines()[0]
    assert escaped in text[text.index("confusion matrix") :]
    capsys.readouterr()
    assert main(["predict", "model.skops", "t.csv"]) == 2
    line = capsys.readouterr().err
    letter = next(letter for letter in city if not letter.isascii())
    assert line == (
        f"fastmlp: error: standard output is in {encoding}, which has no {letter!r}; "
        "set PYTHONIOENCODING=utf-8\n"
    )
    assert said.buffer.getvalue().decode(encoding) == text


def test_an_output_that_is_full_is_named(monkeypatch):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OSError, match="No space left on device: 'standard output'"):
        Console().say("x")
