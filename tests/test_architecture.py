"""The rules of the house, held over every file; each failure names the file and the fix."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "recurra"

MOST_LINES = 400
MOST_FUNCTION_LINES = 60
MOST_PARAMETERS = 8
MOST_DEPTH = 2
MOST_MODULES = 14
MOST_STOREYS = 7
RUN = 6
MOST_REPEATS = 25  # it only goes down; a cell of one more may share its constructor

# Folders whose files are a table's entries, one each, may hold any number; so may the kernels'.
TABLES = ("cells", "wrappers", "corpora", "baselines", "kernels")

# Package -> what is in it, lowest first. Those on one line stand side by side and do not know
# each other; * is every file that is not named.
ORDER = {
    "recurra": """
        errors
        randomness
        table machine work
        processes
        storage
        ngram nn
        learning search
        language series labels
        run
        bench demo
        export serve tune cluster
        estimators
        cli
        __main__
    """,
    "recurra.storage": """
        files finite locks packed
        reading
        format sealed
        leftovers sources tensors
        folders
        outputs
        picture
        remote pretrained
    """,
    "recurra.storage.packed": "*",
    "recurra.storage.remote": "download\n published",
    "recurra.processes": "worker\n pool",
    "recurra.ngram": "arrays\n backoff\n gaps pruning\n kneser_ney",
    "recurra.nn": """
        state
        kernels
        cells
        wrappers
        arguments graphed loop proven uncompiled
        sequences
        present
        unroll
        head make weights width
        contract prepacked
    """,
    "recurra.nn.head": "base\n *",
    "recurra.nn.kernels": """
        autocast compiler
        logarithm operator pointwise rows vectors
        products
        losses scans loops
        onednn
        *
        device
    """,
    "recurra.nn.kernels.compiler": "library\n kept\n compiled\n forked\n team",
    "recurra.nn.kernels.products": "matmul packed\n sequence\n linear",
    "recurra.nn.kernels.losses": "exponentials\n linear_cross_entropy\n *",
    "recurra.nn.kernels.scans": "channels\n *",
    "recurra.nn.kernels.loops": "lstm_steps plain product_loop\n *",
    "recurra.nn.kernels.device": "recorder triton_lstm\n graphs\n lstm",
    "recurra.nn.cells": """
        bounded declared kernel
        activation base
        biases candidate steps
        relatives
        *
    """,
    "recurra.nn.wrappers": "masks\n base\n inside\n *",
    "recurra.nn.contract": "result subject\n form purity\n *\n sizes\n suite",
    "recurra.nn.weights": "parts\n keras_arrays\n keras_layer\n *",
    "recurra.learning": """
        event metric written
        options
        config own weights
        task
        optimization
        averaging epochs
        checkpoint
        resumed
        loop
        plan
    """,
    "recurra.learning.own": "blame state\n terms",
    "recurra.search": "edit_distance rows truncation\n beam",
    "recurra.language": """
        options
        entry
        presets text
        described metrics
        network
        use
        models
        mixing
        explanation heat_map
        sizing costs sketch
        task
    """,
    "recurra.language.text": """
        byte_pairs
        tokenization
        vocabulary
        token
        arpa
        spelling
        corpora
        dataset
        batches
    """,
    "recurra.language.text.arpa": "tools words\n sections\n reading writing",
    "recurra.language.text.corpora": "base\n files\n *",
    "recurra.language.use": "sampling\n nbest suggestion\n decoding\n scoring\n rescoring",
    "recurra.language.models": """
        base
        network cached
        prepacked
        ngram
        unigram_cache cache
        adaptation
        dynamic
        temperature
        mixture
    """,
    "recurra.series": """
        options
        entry
        presets calendar
        panel
        reading
        datasets
        data
        described baselines
        judging
        network
        use
        pictures
        task
    """,
    "recurra.series.pictures": "*",
    "recurra.series.calendar": """
        codes limits months zones seasons
        lattice
        words
        frequency
        found written
        names
    """,
    "recurra.series.reading": "numbers\n columns\n draft stamps\n files\n *",
    "recurra.series.reading.stamps": "forms\n column\n *",
    "recurra.series.reading.files": "pieces heading\n rows\n *",
    "recurra.series.datasets": "base\n *",
    "recurra.series.data": "dataset fills\n windows",
    "recurra.series.baselines": "base\n *",
    "recurra.series.judging": "metrics\n trial\n rivals",
    "recurra.series.network": "smoothing conformal\n model\n doubt learner sizing\n sketch",
    "recurra.series.use": "forecasts history\n saved\n forecaster\n evidence backtest",
    "recurra.labels": """
        options
        entry
        presets sequences
        reading
        datasets
        described metrics
        network
        learner
        baselines
        classifier sketch
        confusion
        task
    """,
    "recurra.labels.reading": "examples\n *",
    "recurra.labels.datasets": "base\n *",
    "recurra.estimators": """
        inputs options settings
        directory saved training
        network_estimator label_mixin
        *
    """,
    "recurra.run": """
        tasks metrics
        events presets records
        asked directory names own
        figures
        report
        plot
        recorded session
    """,
    "recurra.run.plot": "*",
    "recurra.bench": """
        rates
        tasks
        network
        trial
        measure
        workers worker verdict
        result
        budget
        cells
        gates picture
    """,
    "recurra.bench.gates": "cell\n verdict\n comparison picture",
    "recurra.bench.tasks": "base\n text\n *",
    "recurra.tune": """
        values width worker
        grid workers
        folder result
        picture
        sweep
    """,
    "recurra.demo": "forward gates gradients truncation\n explosion\n pictures",
    "recurra.cli": "console places sources streams\n interrupt usage working\n progress\n *",
    "recurra.cli.learn": "benched gated options\n swept\n *",
    "recurra.cli.text": "unknown\n *",
    "recurra.cli.series": "*",
    "recurra.cli.look": "*",
}


class House:
    """The modules of a package, by dotted name, with what each imports of the package's own."""

    def __init__(self, package: Path) -> None:
        self.name = package.name
        self.paths = {_dotted(path, package.parent): path for path in sorted(package.rglob("*.py"))}
        self.trees = {name: ast.parse(path.read_text()) for name, path in self.paths.items()}

    def imports(self, name: str) -> Iterator[tuple[str, int]]:
        """Yield what a module imports, wherever in the file, and the line."""
        for node in ast.walk(self.trees[name]):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                submodules = [f"{module}.{alias.name}" for alias in node.names]
                targets = [t if t in self.paths else module for t in submodules]
            else:
                continue
            for target in dict.fromkeys(targets):
                if target.split(".")[0] in (self.name, ""):
                    yield target, node.lineno


def _dotted(path: Path, top: Path) -> str:
    parts = path.relative_to(top).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def storeys(house: House) -> Iterator[str]:
    """A file imports from below, and in its own package from what stands before it."""
    for name in house.paths:
        for target, line in house.imports(name):
            place = f"{house.paths[name]}:{line}"
            if target.startswith("."):
                yield f"{place} imports relatively; write the module's full name"
            elif name == target or target.startswith(f"{name}."):
                continue  # a package's own file lists what is in it
            elif name.startswith(f"{target}."):
                yield (
                    f"{place} imports the root of its own package, {target}; "
                    "import the module that defines the name"
                )
            elif (fault := _above(name, target)) is not None:
                yield f"{place} {fault}"


def _above(name: str, target: str) -> str | None:
    ours, theirs = name.split("."), target.split(".")
    same = 0
    while ours[same] == theirs[same]:
        same += 1
    package = ".".join(ours[:same])
    ranks = [_rank(package, part) for part in (ours[same], theirs[same])]
    for part, rank in zip((ours[same], theirs[same]), ranks):
        if rank is None:
            return f"needs {package}.{part}, which has no place yet; give it one in ORDER"
    if ranks[1] < ranks[0]:
        return None
    where = "beside" if ranks[0] == ranks[1] else "above"
    return (
        f"imports {target}, which stands {where} it; move what it needs below both, "
        "or hand it in as an argument"
    )


def _rank(package: str, part: str) -> int | None:
    rows = [row.split() for row in ORDER.get(package, "").strip().splitlines()]
    for wanted in (part, "*"):
        for rank, row in enumerate(rows):
            if wanted in row:
                return rank
    return None


def cycles(house: House) -> Iterator[str]:
    """No module imports itself by way of others."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> Iterator[str]:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            yield f"{house.paths[name]} is in a circle of imports, {circle}; cut one of them"
        elif name not in finished:
            for target, _ in house.imports(name):
                if target in house.paths:
                    yield from visit(target, [*path, name])
            finished.add(name)

    for name in house.paths:
        yield from visit(name, [])


def sizes(house: House) -> Iterator[str]:
    """Files, functions and constructors that can be seen at once."""
    for name, tree in house.trees.items():
        path = house.paths[name]
        lines = len(path.read_text().splitlines())
        if lines > MOST_LINES:
            yield f"{path} has {lines} lines, over {MOST_LINES}; make it a package of two files"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                long = (node.end_lineno or 0) - node.lineno + 1
                if long > MOST_FUNCTION_LINES:
                    yield (
                        f"{path}:{node.lineno} {node.name} has {long} lines, "
                        f"over {MOST_FUNCTION_LINES}; give a part of it a name"
                    )
            elif isinstance(node, ast.ClassDef):
                count = len(_parameters(node))
                if count > MOST_PARAMETERS:
                    yield (
                        f"{path}:{node.lineno} {node.name} takes {count} parameters, "
                        f"over {MOST_PARAMETERS}; gather them into options"
                    )


def _parameters(node: ast.ClassDef) -> list[str]:
    """The names a class is made with: of `__init__`, or a dataclass's fields; options not."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            given = [*item.args.posonlyargs, *item.args.args, *item.args.kwonlyargs]
            return [
                argument.arg
                for argument in given[1:]
                if "Options" not in ast.unparse(argument.annotation or ast.Constant(None))
            ]
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return [ast.unparse(item.target) for item in node.body if isinstance(item, ast.AnnAssign)]
    return []


def depths(house: House) -> Iterator[str]:
    """No class is more than two deep in the package's own inheritance."""
    classes = {
        node.name: (path, node)
        for path, tree in zip(house.paths.values(), house.trees.values())
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }

    def depth(name: str, below: tuple[str, ...] = ()) -> int:
        if name not in classes or name in below:
            return 0
        bases = [ast.unparse(base).split("[")[0].split(".")[-1] for base in classes[name][1].bases]
        return 1 + max((depth(base, (*below, name)) for base in bases), default=0)

    for name, (path, node) in classes.items():
        if depth(name) > MOST_DEPTH:
            yield (
                f"{path}:{node.lineno} {name} is {depth(name)} deep in our own inheritance, "
                f"over {MOST_DEPTH}; hold an instance instead of deriving"
            )


def rooms(house: House) -> Iterator[str]:
    """A folder that can be seen at once."""
    folders = Counter(path.parent for path in house.paths.values() if path.name != "__init__.py")
    for folder, count in folders.items():
        if count > MOST_MODULES and not {*TABLES} & {*folder.parts}:
            yield f"{folder} has {count} modules, over {MOST_MODULES}; make rooms in it"


def chains(house: House) -> Iterator[str]:
    """From the command line down to the ground, through few packages and loose files."""
    below: dict[str, set[str]] = {}
    for name in house.paths:
        top = name.split(".")[1:2]
        for target, _ in house.imports(name):
            if top and target.split(".")[1:2] not in ([], top):
                below.setdefault(top[0], set()).add(target.split(".")[1])

    @cache
    def longest(top: str) -> tuple[str, ...]:
        return (top, *max(map(longest, below.get(top, ())), key=len, default=()))

    chain = max(map(longest, below), key=len, default=())
    if len(chain) > MOST_STOREYS:
        yield (
            f"{' -> '.join(chain)} is a chain of {len(chain)}, over {MOST_STOREYS}; let one of "
            "them be handed what it imports"
        )


def repeats(house: House) -> Iterator[str]:
    """Every longest run of equal lines that stands in two places."""
    files = {
        house.paths[name]: _code(house.paths[name], tree) for name, tree in house.trees.items()
    }
    found: dict[tuple[str, ...], list[tuple[Path, int]]] = {}
    for path, lines in files.items():
        for n in range(len(lines) - RUN + 1):
            found.setdefault(tuple(text for _, text in lines[n : n + RUN]), []).append((path, n))
    for places in found.values():
        for (one, m), (other, n) in combinations(places, 2):
            first, second = files[one], files[other]
            longer = m and n and first[m - 1][1] == second[n - 1][1]  # it began above
            overlap = one == other and abs(m - n) < RUN
            if not (longer or overlap):
                yield f"{one}:{first[m][0]} says what {other}:{second[n][0]} says; let one serve"


def _code(path: Path, tree: ast.Module) -> list[tuple[int, str]]:
    """The lines of a file with their numbers: no blank ones, comments, docstrings or imports."""
    out: set[int] = set()
    for node in ast.walk(tree):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if text or isinstance(node, ast.Import | ast.ImportFrom):
            out.update(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(map(str.strip, path.read_text().splitlines()), 1)
    return [(n, line) for n, line in lines if n not in out and line and not line.startswith("#")]


DOOR = "recurra.storage"
MODULES_OF_THE_DOOR = {"shutil": {"disk_usage", "which", "get_terminal_size"}, "tempfile": set()}
ENDS = {
    *("unlink", "rmdir", "remove_tree", "rmtree", "removedirs", "rename", "renames", "move"),
    *("write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "symlink", "link"),
    *("truncate", "ftruncate", "mkfifo", "mknod", "savefig", "imsave", "tofile", "savetxt"),
    *("save", "savez", "savez_compressed", "save_file", "save_model", "open_memmap", "extractall"),
    *("copyfile", "copy2", "copytree", "to_csv", "to_parquet", "to_pickle", "to_excel"),
}
"""Methods and functions after which a file is not what it was."""
OUR_THINGS = {"files", "heat_map", "checkpoints", "training", "data"}
"""What we call modules and objects of ours, and tables of pandas: none of them a path."""


def destruction(house: House) -> Iterator[str]:
    """Removing, renaming, replacing and writing files is done in storage alone."""
    for name, tree in house.trees.items():
        if name.startswith(f"{house.name}.{DOOR.partition('.')[2]}"):
            continue
        for node in ast.walk(tree):
            if what := _ends(node):
                yield (
                    f"{house.paths[name]}:{node.lineno} calls {what}; let a function of "
                    "storage/ do it, which asks whose the file is and writes it whole"
                )


def _ends(node: ast.AST) -> str | None:
    """Return what a node does to files, in its own words; None where that is nothing."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = node.module if isinstance(node, ast.ImportFrom) else None
        for alias in node.names:
            top = (module or alias.name).partition(".")[0]
            allowed = MODULES_OF_THE_DOOR.get(top)
            if allowed is not None and module and alias.name not in allowed:
                return f"{top}.{alias.name}"
            if top == "tempfile" or (top == "os" and module and alias.name in {*ENDS, "remove"}):
                return f"{top}.{alias.name}"
        return None
    if isinstance(node, ast.Attribute):
        owner = ast.unparse(node.value)
        if owner in MODULES_OF_THE_DOOR and node.attr not in MODULES_OF_THE_DOOR[owner]:
            return f"{owner}.{node.attr}"
        if node.attr in ENDS and owner.rpartition(".")[2] not in OUR_THINGS:
            return f"{owner}.{node.attr}"
        if owner == "os" and node.attr in {"remove", "replace", "O_CREAT", "O_TRUNC", "O_APPEND"}:
            return f"os.{node.attr}"
        return None
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func)
    last = called.rpartition(".")[2]
    if last == "replace" and "." in called and len(node.args) == 1 and not node.keywords:
        return called  # a text's has two
    if last == "memmap" and any("+" in _said(each) for each in node.args[2:3]):
        return called
    if called in PATH_FIRST or last == "open":
        modes = node.args[1:2] if called in PATH_FIRST else node.args[:1]
        modes = [*modes, *(each.value for each in node.keywords if each.arg == "mode")]
        if any(re.fullmatch("[rbtU]*[wax+][bt+]*", _said(each)) for each in modes):
            return called
    return None


PATH_FIRST = {
    *("open", "io.open", "gzip.open", "bz2.open", "lzma.open", "codecs.open", "tarfile.open"),
    *("gzip.GzipFile", "zipfile.ZipFile"),
}


def _said(node: ast.expr) -> str:
    """Return a text that is written out; nothing of one that is computed."""
    known = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if known else ""


@cache
def _house() -> House:
    return House(PACKAGE)


def test_less_and_less_is_written_twice():
    found = list(repeats(_house()))
    told = "\n".join(path.removeprefix(f"{PACKAGE}/") for path in found)
    assert len(found) <= MOST_REPEATS, (
        f"{len(found)} runs of {RUN} lines stand in two places, over {MOST_REPEATS}; give what is "
        f"the same one place, here or in an old pair:\n{told}"
    )


@pytest.mark.parametrize("rule", [storeys, cycles, sizes, depths, rooms, chains, destruction])
def test_the_package_keeps_the_rule(rule):
    assert list(rule(_house())) == []


@pytest.mark.parametrize(("folder", "most"), [("examples", 59), ("benchmarks", MOST_LINES)])
def test_other_files_are_short_too(folder, most):
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > most
    }
    assert long == {}


# A small house in which every rule is broken once, to see that each is noticed.

BAD = {
    "errors.py": "class A: ...\nclass B(A): ...\nclass C(B): ...\n",
    "table.py": "from recurra.storage import write\n",
    "storage.py": "def write():\n    from recurra.table import Table\n",
    "unplaced.py": "import recurra.errors\n",
    "nn/__init__.py": "",
    "nn/state.py": "import recurra\n",
    "nn/head.py": "from recurra.learning.loop import learn\nfrom recurra.nn.state import map\n",
    "nn/cells/__init__.py": "",
    "nn/cells/base.py": "from recurra.nn.cells import CELLS\n",
    "nn/cells/gru.py": "from recurra.nn.cells.lstm import LSTMCell\n",
    "nn/cells/lstm.py": "from . import base\n",
    "learning/__init__.py": "",
    "learning/loop.py": "def learn():\n" + "    x = 1\n" * 61,
    "run.py": "x = 1\n" * 401,
    **{f"series/part{n}.py": "" for n in range(15)},
    "series/part1.py": "".join(f"a{n} = {n}\n" for n in range(7)),
    "series/part2.py": "b = 0\n# why\n\n"
    + "".join(f"  a{n} = {n}\n" for n in range(7)).replace("  ", ""),
    "cli.py": (
        "class Wide:\n"
        "    def __init__(self, options: Options, a, b, c, d, e, f, g, *, h, i): ...\n"
        "@dataclass\n"
        "class Broad:\n" + "".join(f"    x{i}: int\n" for i in range(9))
    ),
}


@pytest.fixture
def bad_house(tmp_path: Path) -> House:
    for name, text in {"__init__.py": "", **BAD}.items():
        path = tmp_path / "recurra" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return House(tmp_path / "recurra")


@pytest.mark.parametrize(
    ("rule", "file", "fault"),
    [
        (storeys, "table.py:1", "imports recurra.storage, which stands above it; move"),
        (storeys, "unplaced.py:1", "has no place yet; give it one in ORDER"),
        (storeys, "nn/state.py:1", "imports the root of its own package, recurra; import the"),
        (storeys, "nn/head.py:1", "imports recurra.learning.loop, which stands above it"),
        (storeys, "nn/cells/base.py:1", "imports the root of its own package, recurra.nn.cells"),
        (storeys, "nn/cells/gru.py:1", "imports recurra.nn.cells.lstm, which stands beside it"),
        (storeys, "nn/cells/lstm.py:1", "imports relatively; write the module's full name"),
        (cycles, ".py", "circle of imports, recurra."),
        (sizes, "learning/loop.py:1", "learn has 62 lines, over 60; give a part of it a name"),
        (sizes, "run.py", "has 401 lines, over 400; make it a package of two files"),
        (sizes, "cli.py:1", "Wide takes 9 parameters, over 8; gather them into options"),
        (sizes, "cli.py:4", "Broad takes 9 parameters, over 8; gather them into options"),
        (rooms, "series", "has 15 modules, over 14; make rooms in it"),
        (repeats, "part1.py:1", "part2.py:4 says; let one serve"),
        (depths, "errors.py:3", "C is 3 deep in our own inheritance, over 2; hold an instance"),
    ],
)
def test_a_broken_rule_is_noticed(bad_house, rule, file, fault):
    assert [said for said in rule(bad_house) if file in said and fault in said]


DESTROYING = """
    path.unlink()
    path.rmdir()
    a.rename(b)
    a.replace(b)
    os.replace(a, b)
    os.remove(a)
    remove = os.remove
    os.unlink(a)
    shutil.rmtree(a)
    shutil.move(a, b)
    gone = shutil.rmtree
    from shutil import rmtree
    from os import unlink
    import tempfile
    from tempfile import TemporaryDirectory
    tempfile.mkdtemp()
    open(a, "w")
    open(a, mode="ab")
    path.open("w")
    path.open(mode="x")
    Path(a).open("r+b")
    io.open(a, "wb")
    gzip.open(a, "wb")
    zipfile.ZipFile(a, "w")
    os.open(a, os.O_WRONLY | os.O_CREAT)
    path.write_text("")
    path.write_bytes(b"")
    path.touch()
    a.symlink_to(b)
    os.link(a, b)
    figure.savefig(path)
    np.save(a, b)
    np.savez(a, b)
    array.tofile(a)
    np.memmap(a, int, "w+")
    torch.save(a, b)
    safetensors.torch.save_file(a, b)
    frame.to_csv(a)
    archive.extractall(a)
    os.truncate(a, 0)
"""
HARMLESS = """
    text.replace("a", "b")
    replace(config, a=1)
    dataclasses.replace(config, a=1)
    open(a)
    path.open("rb")
    open(a, "r", encoding="utf-8")
    gzip.open(a)
    source.open(name)
    shutil.disk_usage(a)
    np.memmap(a, int, "r")
    files.write_bytes(a, b)
    write_bytes(a, b)
    os.fdopen(a, "w")
    os.open(os.devnull, os.O_WRONLY)
    names.remove(a)
"""


@pytest.mark.parametrize("line", [line.strip() for line in DESTROYING.strip().splitlines()])
def test_what_destroys_files_is_noticed_outside_storage(tmp_path, line):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.py").write_text(f"{line}\n")
    (said,) = {said.split(" calls ")[0] for said in destruction(House(tmp_path / "mine"))}
    assert said.endswith("run.py:1")
    (tmp_path / "mine" / "storage").mkdir()
    (tmp_path / "mine" / "run.py").rename(tmp_path / "mine" / "storage" / "files.py")
    assert list(destruction(House(tmp_path / "mine"))) == []


def test_what_destroys_no_files_is_not_noticed(tmp_path):
    lines = [line.strip() for line in HARMLESS.strip().splitlines()]
    (tmp_path / "run.py").write_text("\n".join(lines))
    assert list(destruction(House(tmp_path))) == []


def test_a_long_chain_is_noticed(tmp_path):
    for n in range(MOST_STOREYS + 1):
        (tmp_path / f"part{n}.py").write_text(f"import {tmp_path.name}.part{n + 1}\n")
    said = list(chains(House(tmp_path)))
    assert len(said) == 1 and "part0 -> part1 -> " in said[0] and "a chain of 9, over 7" in said[0]
    (tmp_path / "part3.py").write_text("")
    assert list(chains(House(tmp_path))) == []


def test_what_is_allowed_is_not_noticed(bad_house):
    said = list(storeys(bad_house))
    assert len(said) == 7  # nn/head.py may import nn/state.py; storage.py may import table.py
