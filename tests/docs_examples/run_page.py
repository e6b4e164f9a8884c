"""
Run the python blocks of a page as one program, and say which block printed what.

A block may use ``await`` at its top level. The program counts as the file
``app.py``, of the blocks with an empty line between two, so what it prints
is what a reader sees who copied them. Before each block's output stands a
line with `MARK` and the line of the page at which the block begins.
"""

import ast
import asyncio
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MARK = "\x1e"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SKIPPED = re.compile(r"<!--+\s*skip: next[^\n]*-->\s*\Z")


def blocks(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield the fenced blocks of a page that are not skipped: language, line, text."""
    for found in FENCE.finditer(text):
        if not SKIPPED.search(text[: found.start()]):
            yield found[1], text.count("\n", 0, found.start()) + 1, found[2]


def run(page: Path) -> None:
    """Run the blocks of *page*."""
    names, above = vars(sys.modules["__main__"]), 0  # where annotations are looked up
    with asyncio.Runner() as runner:
        for language, line, source in blocks(page.read_text()):
            if language != "python":
                continue
            sys.stdout.write(f"{MARK}{line}\n")
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile("\n" * above + source, "app.py", "exec", flags, dont_inherit=True)
            result = eval(code, names)  # noqa: S307 - our own documentation
            if inspect.iscoroutine(result):
                runner.run(result)
            above += source.count("\n") + 1


if __name__ == "__main__":
    run(Path(sys.argv[1]))
