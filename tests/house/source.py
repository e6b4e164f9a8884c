"""The checkout as files and syntax trees, for the house-keeping tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Hidden folders hold tools and caches; .ci is ours.
FOREIGN = {"build", "dist", "__pycache__"}


def files(suffix: str = "", under: str = ".") -> Iterator[Path]:
    """Yield our own files in the folder *under* whose names end in *suffix*."""
    for path in sorted((ROOT / under).iterdir()):
        hidden = path.name.startswith(".") and path.name != ".ci"
        if hidden or path.name in FOREIGN:
            continue
        if path.is_dir():
            yield from files(suffix, str(path.relative_to(ROOT)))
        elif path.name.endswith(suffix):
            yield path


def shown(path: Path, line: int | None = None) -> str:
    """Return *path* as a reader of a failure wants it: relative, with its line."""
    return f"{path.relative_to(ROOT)}" + (f":{line}" if line else "")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function defined in the Python file *path*, methods and nested ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
