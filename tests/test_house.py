"""The rules of the house, walked through the syntax trees. Each rule is a function from sources to complaints,
so that a planted fault can show that the rule bites.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
Sources = Mapping[str, str]

# Higher rooms may import lower ones. Rooms on one line do not import each other.
FLOORS = [
    {"__main__"},
    {"cli", "pytest_plugin"},
    {"show"},
    {"ab"},
    {"explain", "measure", "judge"},
    {"machine"},
    {"worker", "report"},
    {"core"},
    {"plan"},
    {"characters", "errors", "metrics", "stats"},
]
TORCHLESS = {
    "plan",
    "report",
    "judge",
    "show",
    "characters",
    "cli",
    "pytest_plugin",
    "errors",
    "metrics",
    "stats",
    "ab",
    "machine",
    "explain",
}
HEAVY = {"torch", "torchvision"}
MEASURED = {
    "bench/core/",
    "bench/worker/",
    "bench/plan/case.py",
    "bench/characters.py",
    "bench/metrics.py",
    "bench/plan/__init__.py",
    "bench/errors.py",
    "bench/__init__.py",
}
# safetensors: where a suite names a file of that format, and only then.
MEASURED_MAY = {"torch", "torchvision", "PIL", "safetensors", "bench"} | set(sys.stdlib_module_names)


def sources() -> dict[str, str]:
    """Every Python file of the package, by its path from the root."""
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "bench").rglob("*.py"))}


def room(path: str) -> str:
    part = path.split("/")[1]
    return part.removesuffix(".py")


def floor(name: str) -> int | None:
    return next((level for level, rooms in enumerate(FLOORS) if name in rooms), None)


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Every imported module by its full dotted name, with the statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node


def top_level(tree: ast.Module) -> set[ast.stmt]:
    return {node for statement in tree.body for node in ast.walk(statement) if isinstance(node, ast.stmt)} - {
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.stmt)
    }


def uphill_imports(files: Sources) -> list[str]:
    """Rule 1: imports run down the list only."""
    found = []
    for path, text in files.items():
        here = floor(room(path))
        for name, node in imports(ast.parse(text)):
            parts = name.split(".")
            if parts[0] != "bench" or len(parts) < 2 or parts[1] == room(path):
                continue
            there = floor(parts[1])
            if here is not None and there is not None and there <= here:
                found.append(f"{path}:{node.lineno} imports {name}, which is not below it")
    return found


def lazy_imports(files: Sources) -> list[str]:
    """Rule 1: an import inside a function only where start-up time is the reason: the door, torch and its parts,
    and the plugin's own door, which pytest loads in every project of an environment.
    """
    doors = ("bench/__init__.py", "bench/pytest_plugin/__init__.py")  # public names: torch only when asked for
    found = []
    for path, text in files.items():
        if path.startswith("bench/cli/") or path in doors:
            continue
        tree = ast.parse(text)
        outside = top_level(tree)
        for name, node in imports(tree):
            if node not in outside and name.split(".")[0] == "bench":
                found.append(f"{path}:{node.lineno} imports {name} inside a function")
    return found


def torch_where_none_may_be(files: Sources) -> list[str]:
    """Rule 2: plan, report, judge and show, and the main process, open without torch."""
    return [
        f"{path}:{node.lineno} imports {name}"
        for path, text in files.items()
        if room(path) in TORCHLESS
        for name, node in imports(ast.parse(text))
        if name.split(".")[0] in HEAVY
    ]


def heavy_measured_process(files: Sources) -> list[str]:
    """Rule 3: the measured process loads only the standard library, torch, torchvision, PIL and the model's packages."""
    found = []
    for path, text in files.items():
        if not any(path == place or path.startswith(place) for place in MEASURED if place.endswith(("/", ".py"))):
            continue
        for name, node in imports(ast.parse(text)):
            parts = name.split(".")
            if parts[0] not in MEASURED_MAY:
                found.append(f"{path}:{node.lineno} imports {name}")
            target = "/".join(parts)
            light = any(f"{target}.py" == place or f"{target}/".startswith(place) for place in MEASURED)
            if parts[0] == "bench" and len(parts) == 3 and not light and (ROOT / f"{target}.py").exists():
                found.append(f"{path}:{node.lineno} imports {name}, which the measured process must not load")
    return found


def prints_and_exits(files: Sources) -> list[str]:
    """Rules 4 and 5: only the door prints or exits."""
    found = []
    for path, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in {"print", "sys.exit", "exit", "quit", "click.echo"} and room(path) not in ("cli", "__main__"):
                found.append(f"{path}:{node.lineno} calls {called}")
            if called == "os._exit" and path != "bench/worker/parent.py":  # how a forked child must end
                found.append(f"{path}:{node.lineno} calls {called}")
    return found


def prints_what_steers_terminals(files: Sources) -> list[str]:
    """The door prints by cli.console.echo alone, which no character from outside gets past."""
    return [
        f"{path}:{node.lineno} calls {ast.unparse(node.func)}"
        for path, text in files.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "click.echo", "click.secho"}
    ]


def files_where_none_may_be(files: Sources) -> list[str]:
    """Rule 4: judge and show touch no file, show touches no terminal."""
    found = []
    for path, text in files.items():
        if room(path) not in ("judge", "show"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called == "open" or called.endswith((".open", ".read_text", ".write_text")) or called == "Console":
                    found.append(f"{path}:{node.lineno} calls {called}")
    return found


def broad_excepts(files: Sources) -> list[str]:
    """Rule 5: only the worker's outermost frame and the door's catch everything, and who looks into a model's answer."""
    allowed = {"bench/worker/solo.py", "bench/worker/laps.py", "bench/cli/__init__.py", "bench/core/outputs.py"}
    return [
        f"{path}:{node.lineno} catches everything"
        for path, text in files.items()
        if path not in allowed
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"BaseException", "Exception"})
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]


def accelerator_words(files: Sources) -> list[str]:
    """core/devices.py is the only room that says torch.cuda or torch.mps."""
    return [
        f"{path}:{node.lineno} says {ast.unparse(node)}"
        for path, text in files.items()
        if path != "bench/core/devices.py"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.cuda", "torch.mps", "torch.xpu"}
    ]


def junk_drawers(files: Sources) -> list[str]:
    """Rule 6: no utils.py, helpers.py or common.py."""
    return [path for path in files if Path(path).stem in {"utils", "helpers", "common", "misc"}]


def too_long(files: Sources) -> list[str]:
    """Rule 6: a file of at most 400 lines, a function of at most 60."""
    found = [f"{path} has {text.count(chr(10))} lines" for path, text in files.items() if text.count("\n") > 400]
    for path, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > 60:
                    found.append(f"{path}:{node.lineno} {node.name} has {size} lines")
    return found


Rule = Callable[[Sources], list[str]]
# Each rule with a file that breaks it.
RULES: dict[Rule, dict[str, str]] = {
    uphill_imports: {"bench/report/planted.py": "from bench.measure.run import run_suite\n"},
    lazy_imports: {"bench/judge/planted.py": "def f():\n    from bench.plan.case import Case\n    return Case\n"},
    torch_where_none_may_be: {"bench/show/planted.py": "def f():\n    import torch.nn\n    return torch\n"},
    heavy_measured_process: {"bench/core/planted.py": "import pydantic\n"},
    prints_and_exits: {"bench/measure/planted.py": "print('hello')\n"},
    prints_what_steers_terminals: {"bench/cli/planted.py": "click.echo('hello')\n"},
    files_where_none_may_be: {"bench/judge/planted.py": "text = open('report.json').read()\n"},
    broad_excepts: {"bench/plan/planted.py": "try:\n    x = 1\nexcept Exception:\n    x = 2\n"},
    accelerator_words: {"bench/core/planted.py": "import torch\ntorch.cuda.synchronize()\n"},
    junk_drawers: {"bench/measure/utils.py": ""},
    too_long: {"bench/plan/planted.py": "def f():\n" + "    x = 1\n" * 61},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    assert rule(sources()) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_planted_fault_breaks_the_rule(rule: Rule) -> None:
    assert rule(RULES[rule]) != []


def test_the_measured_process_may_not_reach_pydantic_by_a_second_step() -> None:
    planted = {"bench/core/planted.py": "from bench.report.run import Report\n"}
    assert heavy_measured_process(planted) != []


def _modules_after(code: str) -> set[str]:
    listed = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return {name.split(".")[0] for name in listed.stdout.splitlines()[-1].split()}


def test_the_help_loads_click_and_nothing_heavy() -> None:
    loaded = _modules_after("from bench.cli import Manner, call\ncall(['--help'], Manner(outside=1))")
    assert "click" in loaded
    assert not loaded & {"torch", "pydantic", "numpy", "rich", "psutil", "jinja2", "pynvml"}


def test_the_measured_process_loads_nothing_of_the_main_process() -> None:
    mended = "from bench.core.torchvision_ops import import_torchvision\nimport_torchvision()"
    by_torch = _modules_after(mended)
    loaded = _modules_after(f"import bench.worker.parent\n{mended}")
    assert loaded - by_torch - set(sys.stdlib_module_names) <= {"bench"}
