"""That the page of build errors leaves none out."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.source import ROOT, files, shown

PAGE = ROOT / "docs" / "rejected.md"

SOURCES = [
    *("handler/branch.py", "handler/check.py", "handler/plan.py", "handler/resolve.py"),
    *("handler/router.py", "handler/signature.py", "extractors/data.py"),
    *("layers/catch.py", "layers/concurrency.py", "layers/timeout.py", "layers/tracing.py"),
    *("layers/retry/layer.py", "layers/retry/policy.py"),
    *("service/builder.py", "service/layer.py", "worker/builder.py"),
]
"""Where problems are put into words."""

WHILE_RUNNING = {
    *("__str__", "_bound", "_check_loop", "_interrupted", "accepts", "release"),
    "runs_again_after",
}
"""Functions of these modules whose texts are said when something runs."""

SHORTEST = 18
"""Characters: shorter parts of a text are too common to tell anything."""


def parts(node: ast.AST) -> Iterator[str]:
    """Yield the constant parts of the texts that *node* is made of, without docstrings."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=name) if name in WHILE_RUNNING:
                pass
            case ast.Expr(value=ast.Constant()) | ast.AnnAssign(value=ast.Constant()):
                pass  # a docstring; a type
            case ast.Constant(value=str(text)):
                yield text
            case _:
                yield from parts(child)


@pytest.mark.parametrize("name", SOURCES)
def test_every_text_of_a_problem_stands_on_the_page(name: str) -> None:
    """Whoever searches the documentation for a message finds it."""
    page = " ".join(PAGE.read_text().split())
    source = ROOT / "layered" / name

    texts = [text.strip() for text in parts(ast.parse(source.read_text()))]
    long = [text for text in texts if len(text) >= SHORTEST and " " in text]

    assert [text for text in long if text not in page] == []


def test_every_module_that_makes_build_errors_is_looked_at() -> None:
    """A new layer's problems belong on the page too."""
    makers = {
        shown(path).removeprefix("layered/")
        for path in files(".py", "layered")
        if re.search(r"BuildError\(|problems\.|problems \+=|Unfillable\(", path.read_text())
    }

    assert makers - set(SOURCES) == {"errors.py", "handler/source.py"}
