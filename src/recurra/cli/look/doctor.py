"""`recurra doctor`: what this machine offers, and in words what is fine and what is not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from recurra.cli.console import Json, folded, open_console, print_json, print_lines

__all__ = ["doctor"]

EXTRAS = {
    "excel": ("openpyxl",),
    "frames": ("narwhals", "pyarrow"),
    "bpe": ("tokenizers",),
}
_LIBRARIES = (
    "torch",
    "numpy",
    "numba",
    "safetensors",
    "pydantic",
    "typer",
    "scikit-learn",
    "matplotlib",
)
_LEAST_DISK, _LEAST_MEMORY = 2 << 30, 1 << 30  # bytes: checkpoints and caches; ptb-large


def doctor(json: Json = False) -> None:
    """Say what this machine offers, and what is not right with it."""
    from importlib.util import find_spec

    from recurra.cli.sources import named_data
    from recurra.machine import available_memory

    facts: dict[str, Any] = {
        "versions": _versions(),
        "processor": _processor(),
        "kernels": _kernels(),
        "gpu": _gpu(),
        "free_memory_bytes": available_memory(),
        "folders": _folders(),
        "data": {
            name: data.open(name).found() for data in named_data().values() for name in data.table
        },
        "extras": {
            name: all(find_spec(module) for module in modules) for name, modules in EXTRAS.items()
        },
    }
    facts["findings"] = _findings(facts)
    facts["healthy"] = all(finding["fine"] for finding in facts["findings"])
    if json:
        print_json(facts)
    else:
        _print(facts)


def _versions() -> dict[str, str | None]:
    import platform

    ours = {"recurra": _version("recurra"), "python": platform.python_version()}
    return ours | {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> dict[str, Any]:
    import platform

    import torch

    from recurra.machine import native_bfloat16, usable_cores

    return {
        "machine": platform.machine(),
        "system": platform.platform(terse=True),
        "cores": usable_cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": native_bfloat16(torch.device("cpu")),
        "amx": bool(torch.cpu._is_amx_tile_supported()),
    }


def _gpu() -> dict[str, Any] | None:
    import torch

    if not torch.cuda.is_available():
        return None
    device = torch.cuda.get_device_properties(0)
    return {
        "name": device.name,
        "memory_bytes": device.total_memory,
        "count": torch.cuda.device_count(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def _kernels() -> dict[str, Any]:
    """Return whether kernels can be compiled here, on whose threads they run, and what is kept."""
    from recurra.nn.kernels.compiler.compiled import compiled_folder, missing
    from recurra.nn.kernels.compiler.kept import distrusted
    from recurra.nn.kernels.compiler.team import on_torchs_team

    folder = (compiled_folder() or Path(os.devnull)).absolute()
    return {
        "missing": missing(),
        "torch_threads": on_torchs_team(),
        "compiled": sum(1 for path in folder.glob("*") if path.is_file()),
        "folder": str(folder),
        "distrusted": distrusted(folder) if folder.is_dir() else None,
    }


def _folders() -> dict[str, Any]:
    from recurra.storage.folders import cache_folder, data_folder

    return {
        name: _folder(path, variable)
        for name, path, variable in (
            ("data", data_folder(), "RECURRA_DATA"),
            ("cache", cache_folder(), "RECURRA_CACHE"),
            ("runs", Path("runs").absolute(), None),
        )
    }


def _folder(path: Path, variable: str | None) -> dict[str, Any]:
    nearest = path
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    return {
        "path": str(path),
        "variable": variable,
        "exists": path.exists(),
        "writable": nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK),
        "free_bytes": shutil.disk_usage(nearest).free,
    }


def _findings(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was found in words, each with whether it is fine."""
    processor, gpu, memory = facts["processor"], facts["gpu"], facts["free_memory_bytes"]
    cores, threads = processor["cores"], processor["threads"]
    findings = [
        _finding(
            threads <= cores,
            f"torch uses {threads} threads on {cores} cores",
            "more threads than cores slow each other down: set OMP_NUM_THREADS or --threads",
        ),
        *_judge_load(processor),
        _finding(
            True,
            f"{processor['instructions']} instructions; "
            + (
                "bfloat16" + (" and AMX" if processor["amx"] else "") + " for training"
                if processor["bfloat16"]
                else "float32 throughout, as there is no bfloat16"
            ),
        ),
        _judge_kernels(facts["kernels"], facts["versions"]["numba"]),
        _finding(True, f"GPU {gpu['name']}" if gpu else "no GPU; everything runs on the processor"),
    ]
    if memory is not None:
        findings.append(
            _finding(
                memory >= _LEAST_MEMORY,
                f"{_gib(memory)} of memory are free",
                "the larger presets may not fit",
            )
        )
    for name, folder in facts["folders"].items():
        findings += _judge_folder(name, folder, complete=all(facts["data"].values()))
    for name, found in facts["data"].items():
        findings.append(
            _finding(
                found is not None or facts["folders"]["data"]["writable"],
                f"{name}: {found}" if found else f"{name} is not here yet",
                "put it there, or set RECURRA_DATA to a folder that can be written",
            )
        )
    return findings


def _judge_load(processor: dict[str, Any]) -> list[dict[str, Any]]:
    load, cores = processor["load"], processor["cores"]
    if load is None:
        return []
    what = f"{load:.1f} programs wanted a core in the last minute, of which there are {cores}"
    how = "all that is trained now takes longer; threads that wait leave the cores to others"
    return [_finding(load <= cores + 0.5, what, how)]


def _judge_kernels(kernels: dict[str, Any], numba: str | None) -> dict[str, Any]:
    if kernels["missing"]:
        what = f"no compiled kernels: {kernels['missing']}"
        how = "networks run slower, on torch alone; mend that, or pip install numba"
        return _finding(False, what, how)
    threads = "torch's own threads" if kernels["torch_threads"] else "a pool of threads"
    said = f"kernels compiled by numba {numba} run on {threads}"
    if kernels["distrusted"]:
        return _finding(
            False, f"{said}; none are kept, as others could change them", kernels["distrusted"]
        )
    kept = f"{kernels['compiled']} functions are kept in {kernels['folder']}"
    return _finding(True, f"{said}; {kept}")


def _judge_folder(name: str, folder: dict[str, Any], complete: bool) -> list[dict[str, Any]]:
    what = f"the {name} folder {folder['path']}"
    if name == "data" and complete and not folder["writable"]:
        return [_finding(True, f"{what} is read-only, and complete")]
    variable = folder["variable"]
    how = f"set {variable} to a folder that can be" if variable else "give another with --out"
    can = _finding(
        folder["writable"], f"{what} can{'' if folder['writable'] else 'not'} be written to", how
    )
    room = _finding(
        folder["free_bytes"] >= _LEAST_DISK,
        f"{_gib(folder['free_bytes'])} of disk are free for {name}",
        f"checkpoints and caches may need {_gib(_LEAST_DISK)}",
    )
    return [can, room]


def _finding(fine: bool, what: str, otherwise: str = "") -> dict[str, Any]:
    return {"fine": fine, "what": what if fine or not otherwise else f"{what}: {otherwise}"}


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"


def _print(facts: dict[str, Any]) -> None:
    from rich.markup import escape

    console = open_console()
    versions = facts["versions"]
    console.print(f"[bold]recurra {versions.pop('recurra')}[/bold]")
    # a name stays beside its version
    said = "   ".join(f"{name}\xa0{version}" for name, version in versions.items())
    print_lines(line.replace("\xa0", " ") for line in folded(said))
    present = [name for name, there in facts["extras"].items() if there]
    console.print(f"extras: {', '.join(present) or 'none'}\n")
    for finding in facts["findings"]:
        mark, color = ("fine", "green") if finding["fine"] else ("look at", "yellow")
        first, *rest = folded(f"{mark:9}{finding['what']}", indent=9)
        console.print(f"[{color}]{mark}[/{color}]{escape(first[len(mark) :])}")
        print_lines(rest)
    console.print(
        "\nEverything is fine." if facts["healthy"] else "\nIt runs; see what is to be looked at."
    )
