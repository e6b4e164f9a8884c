"""The public names: exact, reachable, described, each at one address."""

import ast
import importlib
import inspect
from collections import defaultdict

import layered
from tests.house.source import ROOT, files


def public_packages() -> list[str]:
    """Return the names of the package and its rooms, the places where names may be public."""
    inits = files("__init__.py", "layered")
    return [".".join(path.relative_to(ROOT).parts[:-1]) for path in inits]


def exports(package: str) -> list[str]:
    """Return what *package* declares public, nothing if it declares nothing."""
    return list(getattr(importlib.import_module(package), "__all__", ()))


def test_all_names_exactly_what_the_package_imports() -> None:
    """Every name that `layered` takes from its rooms is public, lazy ones included."""
    statements = ast.parse((ROOT / "layered/__init__.py").read_text()).body
    statements += [inner for each in statements if isinstance(each, ast.If) for inner in each.body]
    imported = {
        alias.asname or alias.name
        for each in statements
        if isinstance(each, ast.ImportFrom) and (each.module or "").startswith("layered")
        for alias in each.names
    }

    assert set(layered.__all__) == imported


def test_all_is_sorted_and_has_no_name_twice() -> None:
    """A reader finds a name where the alphabet puts it."""
    assert list(layered.__all__) == sorted(set(layered.__all__))


def test_every_public_name_resolves() -> None:
    """A name in an `__all__` is there, at first use and in `dir()`."""
    missing = [
        f"{package}.{name}"
        for package in public_packages()
        for name in exports(package)
        if not hasattr(importlib.import_module(package), name)
        or name not in dir(importlib.import_module(package))
    ]

    assert missing == []


def test_every_public_name_has_one_home() -> None:
    """Two import paths for one thing would make two habits."""
    homes: dict[str, list[str]] = defaultdict(list)
    for package in public_packages():
        for name in exports(package):
            homes[name].append(package)

    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_every_public_class_and_function_has_a_docstring() -> None:
    """A docstring of its own: an inherited one describes something else."""
    bare = []
    for package in public_packages():
        for name in exports(package):
            thing = getattr(importlib.import_module(package), name)
            if (inspect.isclass(thing) or inspect.isroutine(thing)) and not thing.__doc__:
                bare.append(f"{package}.{name}")

    assert bare == []
