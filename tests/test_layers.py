"""The architecture, checked on the imports as they are written: a file imports only from its own layer or lower."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "numgrad"

README = Path(__file__).parent.parent / "README.md"


def _layers():
    """Files and folders by layer, as README's table of layers lists them; the longest match counts."""
    rows = re.findall(r"^\| (\d) \| (.*?) \|", README.read_text(), re.MULTILINE)
    return {name.rstrip("/"): int(layer) for layer, names in rows for name in re.findall(r"`([\w./]+)`", names)}


LAYERS = _layers()

# Imports against the order, each with its reason. They stand inside functions.
PERMITTED = {
    ("device", "kernels.cpu"): "the backend of a device, on its first use",
    ("device", "kernels.cuda"): "the backend of a device, on its first use",
    ("device", "kernels.meta"): "the backend of a device, on its first use",
    ("storage", "storages"): "PyTorch's module ``storage`` has these classes, which are looked up there on first use",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """``kernels/jit.py`` as ``kernels.jit``; a folder's ``__init__.py`` as the folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def layer_of(module: str) -> int:
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        found = LAYERS.get(".".join(parts[:end]))
        if found is not None:
            return found
    raise AssertionError(f"numgrad/{module}: give it a layer in the table of README.md")


MODULES = {module_of(path): path for path in FILES}


def imports_of(path: Path):
    """``(imported module, line, whether it runs on import)``: ours without the leading ``numgrad.``, others whole."""
    module = module_of(path)
    package = ["numgrad", *path.relative_to(PACKAGE).parts[:-1]]
    tree = ast.parse(path.read_text())
    late = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            late.update(ast.walk(node))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            late.update(child for statement in node.body for child in ast.walk(statement))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names = []
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                inner = whole.removeprefix("numgrad.")
                ours = whole.startswith("numgrad.") and (inner in MODULES or (module, inner) in PERMITTED)
                names.append(whole if ours else base)
        for name in names:
            if name == "numgrad":
                name = "numgrad.__init__"
            if name.startswith("numgrad.") and name.removeprefix("numgrad.") != module:
                yield name.removeprefix("numgrad."), node.lineno, node not in late
            elif not name.startswith("numgrad.") and name not in MODULES:  # NVIDIA's package is called cuda too
                yield name, node.lineno, node not in late


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_go_down(path):
    module = module_of(path)
    for imported, line, _ in imports_of(path):
        if imported in MODULES and (module, imported) not in PERMITTED:
            assert layer_of(imported) <= layer_of(module), (
                f"numgrad/{path.relative_to(PACKAGE)}:{line} (layer {layer_of(module)}) imports {imported} "
                f"(layer {layer_of(imported)})"
            )


def test_permitted_imports_are_in_functions_and_in_use():
    for module, imported in PERMITTED:
        found = [at_import for name, _, at_import in imports_of(MODULES[module]) if name == imported]
        assert found, f"{module} no longer imports {imported}: take it off the list"
        assert not any(found), f"{module} imports {imported} when it is itself imported"


def test_no_cycles():
    graph = {
        module: {name for name, _, at_import in imports_of(path) if at_import and name in MODULES}
        for module, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for imported in graph[module]:
                visit(imported, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_foreign_imports(path):
    """Numba and its relatives belong to the kernels; PyTorch is for tests only."""
    module = module_of(path)
    for imported, line, at_import in imports_of(path):
        root = imported.split(".")[0]
        where = f"numgrad/{path.relative_to(PACKAGE)}:{line}"
        assert root != "torch", f"{where} imports PyTorch"
        if root in ("numba", "llvmlite", "numba_cuda"):
            assert layer_of(module) == LAYERS["kernels"] or not at_import and module == "__main__", (
                f"{where} imports {root} outside numgrad/kernels"
            )
        if imported not in MODULES and root in ("scipy", "matplotlib", "tqdm", "sklearn", "cuda", "nvmath"):
            assert not at_import, f"{where} imports {root} when numgrad is imported; import it where it is used"
