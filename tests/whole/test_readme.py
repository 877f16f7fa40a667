"""What the README shows runs as it stands, is short and plain, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
TEXT = README.read_text("utf-8")
PAGES = [README, *(REPOSITORY / name for name in (
    "benchmarks/README.md", "tests/README.md", ".github/CONTRIBUTING.md", ".github/CHANGES.md"
))]  # fmt: skip
MOST_LINES, MOST_WORDS = 180, 30


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


@pytest.fixture
def few(tmp_path, monkeypatch):
    """Have every program find a tenth of MNIST, and write into a folder of the test's own."""
    import matplotlib.pyplot

    from fastmlp import datasets

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    data = datasets.load_mnist("uint8")
    data = data._replace(x_train=data.x_train[:6000], y_train=data.y_train[:6000])
    for name in ("fastmlp.datasets.load_mnist", "fastmlp.cli.files.load_mnist"):
        monkeypatch.setattr(name, lambda *_: data)
    yield tmp_path
    matplotlib.pyplot.close("all")


def test_the_program_runs(few):
    import fastmlp

    scope: dict = {}
    exec(code_blocks("python")[1], scope)
    assert scope["history"].val_accuracy[-1] > 0.9
    again = fastmlp.MLP.load(few / "digits.npz")
    for ours, theirs in zip(again.weights, scope["net"].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_program_for_scikit_learn_runs_unchanged(tmp_path):
    (tmp_path / "program.py").write_text(code_blocks("python")[0])
    line = shlex.split(code_blocks("sh")[2])
    assert line == ["python", "-m", "fastmlp.sklearn", "program.py"]
    line[:3] = [sys.executable, "-m", "fastmlp.sklearn", "--verbose"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    scores = [float(score) for score in done.stdout.strip("[]\n").split()]
    assert len(scores) == 5
    assert min(scores) > 0.7
    assert "MLPClassifier" in done.stderr  # was taken


def test_the_command_lines_run(few, capsys):
    from fastmlp.cli import main

    lines = [line for block in code_blocks("sh")[3:] for line in block.splitlines()]
    for line in lines:
        program, *arguments = shlex.split(line)
        if program == "python":
            assert arguments[0] == "-c"
            exec(arguments[1], {})
        else:
            assert program == "fastmlp"
            assert main(arguments) == 0, line
    shown = capsys.readouterr().out
    assert len(re.findall(r"test accuracy", shown)) == 2
    for made in ("mnist.npz", "report.html", "wine.skops"):
        assert (few / made).stat().st_size > 1000


def test_the_two_commands_come_first_and_are_one_line_each():
    commands = code_blocks("sh")[:2]
    assert len(re.findall(r"^#", TEXT.partition(commands[1])[0], re.M)) == 1
    for command in commands:
        assert command.count("\n") == 1
        assert command.startswith("python -m pip install ")
    assert "&& fastmlp train " in commands[0]
    assert commands[1].endswith("&& python -m pytest -n 2\n")


# short and plain


def sentences(text: str) -> list[str]:
    """Return the sentences of a page, those in cells of its tables too, without its programs."""
    text = re.sub(r"```.*?```|<!--.*?-->", "\n\n", text, flags=re.S)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)  # of a link, what is seen
    text = re.sub(r"^(#.*|[-*] )", "\n", text, flags=re.M).replace("|", "\n\n")
    return [
        " ".join(sentence.split())
        for paragraph in re.split(r"\n\s*\n", text)
        for sentence in re.split(r"(?<=[.!?])\s+", paragraph)
        if sentence.strip()
    ]


def too_long(text: str) -> list[str]:
    return [sentence for sentence in sentences(text) if len(sentence.split()) > MOST_WORDS]


def test_the_reader_of_sentences_sees_them():
    long = "word " * (MOST_WORDS + 1)
    assert sentences("# Title\n\nOne of\nthem. [Two](a.md)\n- three\n\n| four | five |\n") == [
        "One of them.", "Two", "three", "four", "five"
    ]  # fmt: skip
    assert len(too_long(f"Short. {long}. | {long} |\n\n- {long}")) == 3
    assert not too_long(f"```\n{long}```")


def test_the_readme_is_short_and_plain():
    assert TEXT.count("\n") <= MOST_LINES
    assert too_long(TEXT) == []


# what it names


def broken_links(page: Path) -> list[str]:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
    return [link for link in links if "://" not in link and not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page):
    assert broken_links(page) == []
    scripts = re.findall(r"python ((?:benchmarks|tests)/\w+\.py)", page.read_text("utf-8"))
    assert [script for script in scripts if not (REPOSITORY / script).exists()] == []


def test_every_page_is_reached_from_the_readme():
    seen, new = set(), {README}
    while new:
        seen |= new
        links = {
            (page.parent / link).resolve()
            for page in new
            for link in re.findall(r"\]\(([^)#]+\.md)\)", page.read_text("utf-8"))
        }
        new = links - seen
    assert set(PAGES) <= seen


# what is generated


@pytest.fixture
def writer(monkeypatch) -> ModuleType:
    """Return the script that writes the generated parts."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    spec = importlib.util.spec_from_file_location("readme", REPOSITORY / "benchmarks" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def part(name: str, page: Path) -> list[str]:
    text = page.read_text("utf-8")
    return re.search(rf"<!-- {name}: .*? -->\n(.*?)<!-- end of {name} -->", text, re.S)[1].split(
        "\n"
    )


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]


def test_the_short_table_of_promises_is_the_long_one_in_short(writer):
    import promises

    short, long = part("promises", README), part("promises", writer.TESTS)
    assert short[-4:] == long[-4:]  # the same run
    rows = zip(cells(short)[2:], cells(long)[2:], promises.PROMISES, strict=True)
    for in_short, (promise, how, counts, result), known in rows:
        words, cases, passed = in_short
        assert (promise, words, how) == known[:3]
        assert passed == result
        tests, *more = (int(n.replace(",", "")) for n in re.findall(r"(?:^|; )([\d,]+)", counts))
        assert int(cases.replace(",", "")) == max(tests, sum(more))


def test_the_speed_in_short_is_of_all_that_was_kept(writer):
    assert [*writer.speed_lines(writer.results()), ""] == part("speed", README)
    kept = {result.machine: result.rows for result in writer.results()}
    whole = part("bench", writer.RESULTS)
    measured = re.search(r"Measured on (.*);", "\n".join(whole))[1]
    head, _, *table = cells(whole)
    for line, row in zip(table, kept[measured], strict=True):
        assert line[0] == row.workload
        shown = dict(zip(head[3:-1], line[3:-1], strict=True))
        assert {n: f"{r:.1f}" for n, r in row.ratios.items()} == {
            n: r for n, r in shown.items() if r
        }


def test_a_row_may_lack_a_peer_and_every_processor_is_shown(writer):
    from fastmlp.bench import Row

    rows = [Row("wide", 1.0, {"NumPy": 2.0}), Row("small", 1.0, {"NumPy": 4.0, "JAX": 1.5})]
    table = cells(writer.bench_lines(rows, {"float32": 1e9}, "a machine"))
    assert [line[3:5] for line in table if line[0] in ("wide", "small")] == [
        ["2.0", ""], ["4.0", "1.5"]
    ]  # fmt: skip
    others = [Row("wide", 1.0, {"NumPy": 1.2})]
    found = [writer.Result("a machine", rows), writer.Result("another", others)]
    text = "\n".join(writer.speed_lines(found))
    assert "| a machine | median | 3.0 | 1.5 |" in text
    assert "| another | least | 1.2 |  |" in text
    assert "the worst case is `wide` on another" in text
    assert "there NumPy takes 1.2 times as long." in text


@pytest.mark.parametrize("name", ["bench", "scaling", "accuracy", "reproduce", "cluster"])
def test_a_part_is_replaced_and_no_other(writer, tmp_path, name):
    page = tmp_path / "README.md"
    page.write_text(writer.RESULTS.read_text("utf-8"), "utf-8")
    writer.replace(name, ["new"], page)
    old = "\n".join(part(name, writer.RESULTS))
    assert writer.RESULTS.read_text("utf-8").replace(old, "new\n") == page.read_text("utf-8")
    with pytest.raises(SystemExit, match="no single place for nothing"):
        writer.replace("nothing", [], page)
