"""Copying modules of this project, and what they import of it, into a package that does not need the project.

Modules keep their folders: `dynacp.audio.reading` becomes PACKAGE/dynacp/audio/reading.py.
"""

import ast
import sys
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path

from dynacp.export.formats import ExportError

OURS = ("budget", "dynacp", "nas")
"""The packages of this project, whose modules are copied."""

_DYNAMIC = ("import_module", "__import__")


def vendored(module: str, package: str, *, allowed: Collection[str]) -> dict[str, str]:
    """File -> source of a module of this project, of the modules that it needs, and of the packages that these lie in.

    `module` is the dotted name. Files are relative to the folder of `package`, the dotted name that the copies will
    have. Imports of this project's modules are rewritten to the copies. Raises `ExportError` for an import that cannot
    be rewritten, and for one of a package that is neither Python's own nor named in `allowed`.
    """
    found, waiting = dict[str, str](), [module]
    while waiting:
        name = waiting.pop()
        file, source = _source(name)
        if file not in found:
            waiting += _needed(name, source, allowed)
            found[file] = _rewritten(source, package)
    return found


def _source(module: str) -> tuple[str, str]:
    """A module's file, relative to the folder of its top package, and its source; empty for a folder without a file."""
    spec = find_spec(module)
    assert spec is not None, module
    file = module.replace(".", "/") + (".py" if spec.submodule_search_locations is None else "/__init__.py")
    return file, "" if spec.origin is None else Path(spec.origin).read_text(encoding="utf-8")


def _needed(module: str, source: str, allowed: Collection[str]) -> Iterator[str]:
    """The modules of ours that a module needs: what it imports, and all packages above it."""
    if parent := module.rpartition(".")[0]:
        yield parent
    for imported in _imported(module, ast.parse(source)):
        top = imported.partition(".")[0]
        if top in OURS:
            yield imported
        elif top not in sys.stdlib_module_names and top not in allowed:
            raise ExportError(f"{module} imports {imported}, which a submission may not need.")


def _imported(module: str, tree: ast.Module) -> Iterator[str]:
    """Dotted names of all modules that a module imports. Raises `ExportError` for forms that cannot be followed."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(origin), level=0) if all(alias.name != "*" for alias in node.names):
                yield origin
                yield from (f"{origin}.{alias.name}" for alias in node.names if _is_module(origin, alias.name))
            case ast.ImportFrom():
                raise ExportError(
                    f"{module}, line {node.lineno}: `{ast.unparse(node)}` cannot be packaged; write an absolute import "
                    "that names what it takes."
                )
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in _DYNAMIC:
                raise ExportError(f"{module} calls `{name}`, and what that imports cannot be packaged.")


def _is_module(package: str, name: str) -> bool:
    """Whether `from package import name` imports a module; asked of our own packages alone."""
    spec = find_spec(package) if package.partition(".")[0] in OURS else None
    within = spec is not None and spec.submodule_search_locations is not None
    return within and find_spec(f"{package}.{name}") is not None


def _rewritten(source: str, package: str) -> str:
    """The source with all imports of our modules led to their copies in `package`."""
    content = source.encode()  # positions in a syntax tree count bytes
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        assert node.end_lineno is not None and node.end_col_offset is not None
        first, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        content = content[:first] + _led(node, package, content[first:end].decode()).encode() + content[end:]
    return content.decode()


def _led(node: ast.Import | ast.ImportFrom, package: str, statement: str) -> str:
    """An import statement, led to the copies where it imports modules of ours; others as they were."""
    if isinstance(node, ast.ImportFrom):
        ours = node.module is not None and node.module.partition(".")[0] in OURS
        return ast.unparse(ast.ImportFrom(f"{package}.{node.module}", node.names, 0)) if ours else statement
    if not any(alias.name.partition(".")[0] in OURS for alias in node.names):
        return statement
    return "; ".join(_led_name(alias, package) for alias in node.names)


def _led_name(alias: ast.alias, package: str) -> str:
    """One of the names of `import a.b as c, d.e`: without `as` it binds the top package alone, and so must the copy."""
    top = alias.name.partition(".")[0]
    if top not in OURS:
        return ast.unparse(ast.Import([alias]))
    copy = ast.unparse(ast.Import([ast.alias(f"{package}.{alias.name}", alias.asname)]))
    return copy if alias.asname else f"{copy}; from {package} import {top}"
