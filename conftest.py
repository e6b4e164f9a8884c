"""
Documentation is tested: python blocks of README.md and docs/, doctests of docstrings.

A page is one program: its blocks run in order and share names, one asyncio
event loop, and a temporary working directory. A block may use `await` at its
top level, or be a program of its own that ends in ``anyio.run(main)``.

A block that cannot run is preceded by a comment that says why::

    <!--- skip: next "needs a mail server" --->
"""

import ast
import asyncio
import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from sybil import Example, Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.doctest import DocTestParser
from sybil.parsers.markdown import CodeBlockParser, SkipParser


@contextmanager
def page() -> Iterator[tuple[ModuleType, asyncio.Runner]]:
    """Give a page its module, event loop and directory for as long as its blocks run."""
    # A real module named __main__: annotations are looked up in sys.modules, and
    # `if __name__ == "__main__":` is what programs end with.
    main, before = ModuleType("__main__"), sys.modules["__main__"]
    with TemporaryDirectory() as directory, chdir(directory), asyncio.Runner() as runner:
        sys.modules["__main__"] = main
        try:
            yield main, runner
        finally:
            sys.modules["__main__"] = before


def open_page(namespace: dict[str, Any]) -> None:
    """Start a page; sybil calls this before its first block."""
    namespace["stack"] = stack = ExitStack()
    namespace["main"], namespace["runner"] = stack.enter_context(page())


def close_page(namespace: dict[str, Any]) -> None:
    """End a page; sybil calls this after its last block."""
    namespace["stack"].close()


def run_block(example: Example) -> None:
    """Run one block, on the page's event loop if it awaits at its top level."""
    # The empty lines make tracebacks show the line of the page.
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, example.namespace["main"].__dict__)  # noqa: S307 - our own documentation
    if inspect.iscoroutine(result):
        example.namespace["runner"].run(result)


pages = Sybil(
    name="docs",
    pattern="*.md",
    parsers=[CodeBlockParser("python", run_block), SkipParser()],
    setup=open_page,
    teardown=close_page,
)
docstrings = Sybil(
    name="docstrings",
    path="layered",
    pattern="*.py",
    parsers=[DocTestParser()],
    document_types={".py": PythonDocStringDocument},
)
pytest_collect_file = (pages + docstrings).pytest()
