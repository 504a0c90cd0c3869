"""Measures the code: size, length of functions, imports, docstrings, and names that are used twice.

`python tools/measure_code.py` prints the table for `orchestrator/`; `--names` also lists every name behind a count.
Code is a line that carries a token which is no comment, docstring or blank. A function's length runs from its `def` to
its end, docstring included. A forwarder is a function whose whole body is one call that hands on its own arguments.
"""

import argparse
import ast
import io
import statistics
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "orchestrator"

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass
class Measured:
    """What one tree of Python files holds; lengths and counts are in lines."""

    files: list[int] = field(default_factory=list)
    code: int = 0
    imports: int = 0
    inner_imports: int = 0
    functions: list[int] = field(default_factory=list)
    public: int = 0
    documented: int = 0
    forwarders: list[str] = field(default_factory=list)
    classes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    modules: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    first_lines: Counter[str] = field(default_factory=Counter)
    docstring_lines: int = 0


def measure(root: Path) -> Measured:
    """Measures every Python file below `root`."""
    found = Measured()
    for path in sorted(root.rglob("*.py")):
        _file(found, path, root)
    return found


def _file(found: Measured, path: Path, root: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    where = str(path.relative_to(root))
    found.files.append(len(text.splitlines()))
    if path.stem not in {"__init__", "__main__"}:
        found.modules[path.stem].append(where)
    docs = _docstrings(tree)
    found.docstring_lines += len(docs)
    code = _code_lines(text) - docs
    found.code += len(code)
    found.imports += len(code & _import_lines(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found.classes[node.name].append(f"{where}:{node.lineno}")
        if isinstance(node, Function):
            _function(found, node, where)
        if isinstance(node, Documented) and (said := ast.get_docstring(node)):
            found.first_lines[said.splitlines()[0]] += 1


def _function(found: Measured, node: Function, where: str) -> None:
    found.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
    found.inner_imports += sum(isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node))
    if not node.name.startswith("_"):
        found.public += 1
        found.documented += ast.get_docstring(node) is not None
    if _forwards(node):
        found.forwarders.append(f"{where}:{node.lineno} {node.name}")


def _docstrings(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node) is not None:
            text = node.body[0]
            lines.update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return lines


def _code_lines(text: str) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def _import_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _forwards(node: Function) -> bool:
    body = [line for line in node.body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Return | ast.Expr) or body[0].value is None:
        return False
    call = body[0].value.value if isinstance(body[0].value, ast.Await) else body[0].value
    own = {name.arg for name in (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs)} - {"self", "cls"}
    if not isinstance(call, ast.Call) or not own:
        return False
    given = [*call.args, *(word.value for word in call.keywords)]
    return bool(given) and all(isinstance(value, ast.Name) and value.id in own for value in given)


def reused(names: dict[str, list[str]]) -> dict[str, list[str]]:
    """Those of *names* that stand in two places or more."""
    return {name: places for name, places in sorted(names.items()) if len(places) > 1}


def _rows(found: Measured) -> Iterator[tuple[str, str]]:
    lengths, files = sorted(found.functions), sorted(found.files)
    yield "files", f"{len(files):,}"
    yield "raw lines", f"{sum(files):,}"
    yield "code lines", f"{found.code:,}"
    yield "file raw: median / p90 / max", _spread(files)
    yield "function: median / p90 / max", _spread(lengths)
    yield "functions per 1,000 code lines", f"{len(lengths) / found.code * 1000:.0f}"
    yield "docstring lines, % of code", f"{found.docstring_lines / found.code:.1%}"
    yield "public functions with a docstring", f"{found.documented / found.public:.1%}"
    yield "import lines, % of code", f"{found.imports / found.code:.1%}"
    yield "imports inside functions", f"{found.inner_imports:,}"
    yield "forwarding functions", f"{len(found.forwarders) / len(lengths):.1%}"
    yield "class names of two classes or more", f"{len(reused(found.classes))}"
    yield "module names of two modules or more", f"{len(reused(found.modules))}"
    yield "docstrings that are copies", f"{sum(count - 1 for count in found.first_lines.values())}"


def _spread(values: list[int]) -> str:
    return f"{statistics.median(values):.0f} / {values[int(len(values) * 0.9)]} / {values[-1]}"


def _print_names(found: Measured) -> None:
    for title, names in (("classes", found.classes), ("modules", found.modules)):
        print(f"\n{title}")
        for name, places in reused(names).items():
            print(f"  {name}: {', '.join(places)}")
    print("\ndocstrings")
    for line, count in found.first_lines.most_common():
        if count > 1:
            print(f"  {count} x {line}")
    print("\nforwarders\n  " + "\n  ".join(found.forwarders))


def main() -> None:
    """Prints the table, and with `--names` what is behind it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("root", nargs="?", type=Path, default=ROOT)
    parser.add_argument("--names", action="store_true", help="also list every name that is used twice")
    given = parser.parse_args()
    found = measure(given.root)
    for name, value in _rows(found):
        print(f"{name:<40}{value:>16}")
    if given.names:
        _print_names(found)


if __name__ == "__main__":
    main()
