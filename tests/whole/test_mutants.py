"""What comments say of mutants is said of mutants that there are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("mutants", Path(__file__).parents[1] / "mutants.py")
mutants = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mutants)

SOURCE = """
def f(z):
    # mutant 2: whatever is added
    return g(z + 1) if z > 0 else z  # mutant >=: at 0 both are
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    return tmp_path / "module.py"


def verdicts(path) -> dict[str, str]:
    found = {name.split(": ", 3)[3]: verdict for name, _, verdict in mutants.mutants(path)}
    return {change: verdict for change, verdict in found.items() if verdict}


def test_a_verdict_is_that_of_its_line_and_change(module):
    module.write_text(SOURCE)
    assert verdicts(module) == {"z > 0 -> z >= 0": "at 0 both are", "1 -> 2": "whatever is added"}


@pytest.mark.parametrize("wrong", [">=:", "2:"])
def test_a_verdict_on_no_mutant_is_refused(module, wrong):
    module.write_text(SOURCE.replace(wrong, "<=:"))
    with pytest.raises(ValueError, match=r"module.py:[34]: a verdict on no mutant: <="):
        verdicts(module)


@pytest.mark.parametrize("group", mutants.GROUPS)
def test_every_verdict_in_the_package_is_on_a_mutant(group):
    assert sum(1 for path in mutants.GROUPS[group][0] for _ in mutants.mutants(path)) > 10


def test_no_other_module_has_verdicts():
    judged = {path for modules, _ in mutants.GROUPS.values() for path in modules}
    for path in mutants.ROOT.glob("fastmlp/**/*.py"):
        assert path in judged or not mutants.VERDICT.search(path.read_text("utf-8")), path
