"""What is released: built, looked through, installed where nothing else is, and run: `make dist`.

    python tests/dist.py [FOLDER]

Wheel and source archive go to `dist/`. The wheel is installed in an empty environment away from the
checkout, with the versions of constraints.txt; there the README's Python runs, and
`recurra demo forward`, and what they print is compared.
"""

from __future__ import annotations

import email.message
import json
import math
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import printed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGE = ROOT / "src" / "recurra"
MOST_BYTES = 1_500_000
KINDS = {".py", ".pyi", ".typed"}
"""What the package is made of."""
ABOUT = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
BESIDE = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"}
WRITTEN = {"PKG-INFO", ".gitignore"}
"""What the builder adds to a source archive."""
FORWARD = ([1.56128388], [2.72707101])
"""The outputs of both steps, as the tutorial prints them."""


def version() -> str:
    """Return the version, which stands in the package alone."""
    found = re.search(r'^__version__ = "(.*)"$', (PACKAGE / "__init__.py").read_text(), re.M)
    assert found
    return found[1]


def modules() -> set[str]:
    """Return the package's files, from `recurra/` on."""
    files = (path for path in PACKAGE.rglob("*") if path.is_file())
    return {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in files
        if "__pycache__" not in path.parts
    }


def wheel_faults(wheel: Path) -> Iterator[str]:
    """Yield what a wheel lacks, or holds and does not need.

    Args:
        wheel: the file.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = f"recurra-{version()}.dist-info"
        wanted = {*modules(), *(f"{about}/{name}" for name in ABOUT)}
        yield from _differences(names, wanted)
        said = email.message_from_string(archive.read(f"{about}/METADATA").decode())
        licence = archive.read(f"{about}/licenses/LICENSE")
    for name in sorted(names & modules()):
        if Path(name).suffix not in KINDS:
            yield f"{name} is no module: leave it out, or say in KINDS that it is needed"
    if licence != (ROOT / "LICENSE").read_bytes():
        yield "its licence is another"
    if wheel.stat().st_size > MOST_BYTES:
        yield f"it has {wheel.stat().st_size:,} bytes, over {MOST_BYTES:,}"
    yield from _metadata_faults(said)


def _metadata_faults(said: email.message.Message) -> Iterator[str]:
    wanted = {
        "Name": PROJECT["name"],
        "Version": version(),
        "Summary": PROJECT["description"],
        "License-Expression": PROJECT["license"],
        "Requires-Python": PROJECT["requires-python"],
        "Description-Content-Type": "text/markdown",
    }
    for name, value in wanted.items():
        if said[name] != value:
            yield f"{name} is {said[name]!r}, not {value!r}"
    needed = {each for each in said.get_all("Requires-Dist", []) if "extra ==" not in each}
    if needed != set(PROJECT["dependencies"]):
        yield f"it requires {sorted(needed)}"
    if said.get_payload().strip() != (ROOT / "README.md").read_text().strip():
        yield "its description is not the README"


def archive_faults(archive: Path) -> Iterator[str]:
    """Yield what a source archive lacks, or holds and does not need.

    Args:
        archive: the file.
    """
    top = f"recurra-{version()}/"
    with tarfile.open(archive) as opened:
        names = {name.removeprefix(top) for name in opened.getnames()}
    yield from _differences(names - WRITTEN, {*(f"src/{name}" for name in modules()), *BESIDE})


def _differences(names: set[str], wanted: set[str]) -> Iterator[str]:
    yield from (f"{name} is lacking" for name in sorted(wanted - names))
    yield from (f"{name} does not belong there" for name in sorted(names - wanted))


def build(folder: Path) -> tuple[Path, Path]:
    """Build the source archive and from it the wheel, and return the wheel and the archive.

    Args:
        folder: where to.
    """
    words = ["-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    wheel = folder / f"recurra-{version()}-py3-none-any.whl"
    return wheel, folder / f"recurra-{version()}.tar.gz"


def installed(wheel: Path, folder: Path) -> Path:
    """Install a wheel in an empty environment, and return where its programs are.

    Args:
        wheel: the file.
        folder: where to make the environment.
    """
    venv.create(folder / "empty", with_pip=True)
    programs = folder / "empty" / ("Scripts" if os.name == "nt" else "bin")
    pip = [programs / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-c", ROOT / "constraints.txt", wheel], check=True)
    subprocess.run([*pip, "check"], check=True)
    return programs


def run_faults(programs: Path, folder: Path) -> Iterator[str]:
    """Run what the README shows, and yield what it prints otherwise.

    Args:
        programs: of the environment.
        folder: an empty one to run in.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    kept |= {"RECURRA_CACHE": str(folder / "cache")}

    def output(*words: str | Path) -> str:
        done = subprocess.run(
            words, cwd=folder, env=kept, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout

    where = output(programs / "python", "-c", "import recurra; print(recurra.__file__)")
    if not where.startswith(str(programs.parent)):
        yield f"recurra was imported from {where.strip()}"
    blocks = printed.python(ROOT / "README.md")
    (folder / "readme.py").write_text("\n".join(blocks))
    said = "".join(map(printed.said, blocks))
    found = output(programs / "python", "readme.py")
    if not printed.agree(said, found):
        yield f"the README says\n{said}and its Python prints\n{found}"
    steps = json.loads(output(programs / "recurra", "demo", "forward", "--json"))["steps"]
    outputs = [value for step in steps for value in step["output"]]
    told = [value for (value,) in FORWARD]
    if not all(math.isclose(a, b, abs_tol=5e-9) for a, b in zip(outputs, told, strict=True)):
        yield f"demo forward says {outputs}, not {told}"


def main() -> None:
    """Build, check, install and run, and say what is wrong."""
    to = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist")
    wheel, archive = build(to)
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel, archive], check=True)
    faults = [f"{wheel.name}: {each}" for each in wheel_faults(wheel)]
    faults += [f"{archive.name}: {each}" for each in archive_faults(archive)]
    if not faults:
        with tempfile.TemporaryDirectory() as folder:
            programs = installed(wheel, Path(folder))
            (place := Path(folder) / "away").mkdir()
            faults += run_faults(programs, place)
    if faults:
        sys.exit("\n".join(faults))
    size = f"{wheel.stat().st_size / 1e6:.2f} MB, {len(modules())} modules"
    print(f"{wheel}: {size}; installed alone, it prints what the README says")


if __name__ == "__main__":
    main()
