"""Small modules, functions and constructors, under names that say what they hold."""

import ast

from tests.house.source import files, functions, shown

EMPTY_NAMES = {"common", "helper", "helpers", "manager", "managers", "util", "utils"}


def test_modules_are_under_300_lines() -> None:
    """A module that grows longer is two modules."""
    lengths = {shown(path): len(path.read_text().splitlines()) for path in files(".py", "layered")}

    assert {path: length for path, length in lengths.items() if length >= 300} == {}


def test_functions_are_under_40_lines() -> None:
    """A function's length is counted without its docstring, which may be as long as it must."""
    too_long = {}
    for path in files(".py", "layered"):
        for function in functions(path):
            assert function.end_lineno is not None
            length = function.end_lineno - function.lineno + 1 - docstring_length(function)
            if length >= 40:
                too_long[shown(path, function.lineno)] = f"{function.name}: {length} lines"

    assert too_long == {}


def test_constructors_take_at_most_six_parameters() -> None:
    """Beyond six, a constructor takes a configuration object."""
    too_many = {}
    for path in files(".py", "layered"):
        for function in functions(path):
            if function.name == "__init__" and (count := parameters(function)) > 6:
                too_many[shown(path, function.lineno)] = count

    assert too_many == {}


def test_modules_have_names_that_say_something() -> None:
    """A module that nobody can name holds things that belong elsewhere."""
    bad = [
        shown(path)
        for path in files(".py")
        for name in (path.stem, path.parent.name)
        if name in EMPTY_NAMES or len(name) < 3
    ]

    assert bad == []


def docstring_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of *function*'s docstring, 0 without one."""
    first = function.body[0]
    if ast.get_docstring(function) is None or first.end_lineno is None:
        return 0
    return first.end_lineno - first.lineno + 1


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of *function*'s parameters beyond self, ``*`` and ``**`` ones included."""
    named = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    open_ended = [arg for arg in (function.args.vararg, function.args.kwarg) if arg]
    return len(named) + len(open_ended) - 1
