"""The layers are a total order: a module imports only from layers below its own, and heavy packages only inside functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import packerlabimaging

PACKAGE = Path(packerlabimaging.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

# lowest first; a module may import its own layer and those before it
LAYERS = [
    "private",
    "core",
    "io",
    "segmentation",
    "preprocessing",
    "analysis",
    "plotting",
    "trials",
    "export",
    "report",
    "pipeline",
    "cli",
]
BESIDE = {"simulate": {"private", "core", "io"}, "testing": set(LAYERS) - {"cli"}}
MAY_USE_BESIDE = {"simulate": {"pipeline", "cli"}, "testing": set()}
HEAVY = {
    "pandas",
    "anndata",
    "scipy",
    "skimage",
    "matplotlib",
    "zarr",
    "h5py",
    "torch",
    "suite2p",
    "pydantic",
    "tifffile",
    "jinja2",
    "rich",
    "numba",
}
COMPILER = "packerlabimaging._compiled"
"""Imports numba when it is imported; kernels import it, and are imported inside functions themselves."""


def layer_of(module: str) -> str:
    parts = module.split(".")
    if len(parts) == 1:
        return "public"
    name = parts[1]
    return "private" if name.startswith("_") or name == "errors" else name


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> list[tuple[str, bool]]:
    """Return ``(module, at top level and for real)`` of every import."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, real: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = real and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.append((child.module, inside))
                if child.module == "packerlabimaging":
                    found.extend((f"packerlabimaging.{alias.name}", inside) for alias in child.names)
            visit(child, inside)

    visit(tree, True)
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_from_layers_below(path: Path) -> None:
    own = layer_of(module_name(path))
    if own == "public":
        pytest.skip("the public package may name everything, lazily")
    allowed = BESIDE.get(own) or set(LAYERS[: LAYERS.index(own)])
    for name, _ in imports(ast.parse(path.read_text(encoding="utf-8"))):
        if not name.startswith("packerlabimaging."):
            continue
        other = layer_of(name)
        beside = own in MAY_USE_BESIDE.get(other, set())
        assert other in allowed | {own} or beside, f"{module_name(path)} ({own}) imports {name} ({other})"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_heavy_packages_are_imported_inside_functions(path: Path) -> None:
    if module_name(path) == COMPILER:
        pytest.skip("the compiler's own module")
    for name, at_top in imports(ast.parse(path.read_text(encoding="utf-8"))):
        heavy = name.split(".")[0] in HEAVY or name.endswith("_kernels")
        heavy = heavy or (name == COMPILER and not module_name(path).endswith("_kernels"))
        assert not (at_top and heavy), f"{module_name(path)} imports {name} when it is imported"
