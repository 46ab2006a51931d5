"""The house: no import runs upward, no modules import each other in a circle, and none is too long to be read."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import sealiency

ROOT = Path(sealiency.__file__).parent
# From the ground up; a module imports from its own floor and from those below.
FLOORS = (
    ("errors", "logs", "progress"),
    ("files", "conventions", "provenance"),
    ("config",),
    ("naming",),
    ("worlds", "data", "esgf"),
    ("emulators",),
    ("attribution",),
    ("resources", "validation"),
    ("skill", "claims"),
    ("experiments",),
    ("figures",),
    ("report", "notebook", "site", "recovery"),
    ("cli",),
)
LONGEST = 400
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def list_modules() -> dict[str, Path]:
    paths = sorted(ROOT.rglob("*.py"))
    names = ((path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."), path) for path in paths)
    return {name.removesuffix(".__init__"): path for name, path in names if name != "__init__"}


MODULES = list_modules()


def find_imports(path: Path, at_start: bool) -> set[str]:
    """Modules of the package that a module imports, at all or when it is itself imported."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if at_start and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found.update(name.removeprefix("sealiency.") for name in names if name.startswith("sealiency."))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found & MODULES.keys()


def test_every_room_has_its_floor():
    rooms = {name.split(".")[0] for name in MODULES}
    assert rooms == set(FLOOR_OF)
    assert sum(len(find_imports(path, at_start=False)) for path in MODULES.values()) > 300


def test_no_import_runs_upward():
    upward = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in sorted(find_imports(path, at_start=False))
        if FLOOR_OF[other.split(".")[0]] > FLOOR_OF[name.split(".")[0]]
    ]
    assert not upward, "\n".join(upward)


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: find_imports(path, at_start=True) - {name} for name, path in MODULES.items()}
    # Raises CycleError, which names the circle.
    order = list(TopologicalSorter(graph).static_order())
    assert len(order) == len(MODULES)


def test_no_module_is_longer_than_400_lines():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    long = [f"{name} has {length} lines" for name, length in lengths.items() if length > LONGEST]
    assert not long, "\n".join(long)
