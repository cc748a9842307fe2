"""The server's flags as its source text tells them, read with ast alone: nothing of a wheel is imported or run."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SERVER_ARGS = "sglang/srt/server_args.py"
FIELDS = "sglang/srt/arg_groups/"
"""The folder that since 0.5.14 holds helpers, and since 0.5.20 the fields that flags are made of."""

_ANNOTATED = frozenset({"A", "Annotated", "typing.Annotated"})
_CONTAINERS = frozenset({"list", "tuple", "set", "frozenset", "sorted"})
_CHANGES = frozenset({"add", "append", "extend", "insert", "remove", "update"})
_TYPES = frozenset({"int", "float", "str", "bool"})
_DEPRECATED = re.compile(r"deprecat(?!ed (?:environment|env) )", re.IGNORECASE)
_NAMED = re.compile(
    r"\b(?:use|set|using|replaced (?:by|with)|favou?r of|renamed to)[\s:'\"`]+(--[a-z0-9]+(?:-[a-z0-9]+)*)(?![\w{-])",
    re.IGNORECASE,
)
_DEPTH = 20  # names that stand for names


class NotConstantError(Exception):
    """What an expression stands for is known only to the running program."""


def read(module: Callable[[str], ast.Module | None], paths: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the flags of one release, each with what is known of it; an alias names the flag it stands for.

    Args:
        module: gives a file of the wheel as a tree, or None for one that the wheel lacks.
        paths: the files of the wheel.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in (SERVER_ARGS, *sorted(path for path in paths if path.startswith(FIELDS) and path.endswith(".py"))):
        tree = module(path)
        scope = Scope(module, tree.body if tree else [])
        for node in tree.body if tree else []:
            if not isinstance(node, ast.ClassDef) or (path == SERVER_ARGS and node.name != "ServerArgs"):
                continue
            for field in node.body:
                if isinstance(field, ast.AnnAssign):
                    found.update(_annotated(field, scope))
                elif isinstance(field, ast.FunctionDef) and path == SERVER_ARGS:
                    found.update(_added(field, scope))
    return found


class Scope:
    """The names of a module, a class or a function, and the constants they stand for."""

    def __init__(
        self, module: Callable[[str], ast.Module | None], body: Iterable[ast.stmt], outer: Scope | None = None
    ) -> None:
        self._module, self._outer = module, outer
        self._names: dict[str, ast.AST] = {}
        self._imported: dict[str, tuple[str, str]] = {}
        for node in body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._names[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                self._names[node.target.id] = node.value
            elif isinstance(node, ast.ClassDef | ast.FunctionDef):
                self._names[node.name] = node
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self._imported |= {name.asname or name.name: (node.module, name.name) for name in node.names}

    def forget(self, function: ast.FunctionDef) -> None:
        """Take no name for a constant that a function changes on its way."""
        for node in ast.walk(function):
            changed: ast.AST | None = node.target if isinstance(node, ast.AugAssign) else None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
                changed = node.func.value
            if isinstance(changed, ast.Name):
                self._names[changed.id] = ast.Pass()

    def value(self, node: ast.AST | None, depth: int = _DEPTH) -> Any:  # noqa: ANN401, C901, PLR0912 - any constant
        """Return the constant that an expression stands for; containers become lists.

        Raises:
            NotConstantError: it stands for none, or for one that this function does not know how to find.
        """
        if not depth:
            raise NotConstantError
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float | str):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if isinstance(value, int | float):
                return -value
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return self._items(items, depth)
            case ast.Set(elts=items):
                return sorted(self._items(items, depth), key=str)
            case ast.Dict(keys=keys):
                return self._items(keys, depth)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                first, second = self.value(left, depth - 1), self.value(right, depth - 1)
                if isinstance(first, list) and isinstance(second, list):
                    return [*first, *second]
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                first, second = self.value(left, depth - 1), self.value(right, depth - 1)
                if isinstance(first, int | float) and isinstance(second, int | float):
                    return first * second
            case ast.Call(func=ast.Name(id=name), args=[inner]) if name in _CONTAINERS:
                items = self.value(inner, depth - 1)
                if isinstance(items, list):
                    return sorted(items, key=str) if name not in {"list", "tuple"} else items
            case ast.Call(func=ast.Attribute(value=inner, attr="keys" | "copy"), args=[]):
                return self.value(inner, depth - 1)
            case ast.Call(func=ast.Name(id=name), args=[], keywords=[]):
                scope, function = self.find(name)
                if isinstance(function, ast.FunctionDef) and isinstance(function.body[-1], ast.Return):
                    return Scope(self._module, function.body, scope).value(function.body[-1].value, depth - 1)
            case ast.Name(id=name):
                scope, found = self.find(name)
                return scope.value(found, depth - 1)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                scope, found = self.find(name)
                if isinstance(found, ast.ClassDef):
                    inside = Scope(self._module, found.body, scope)
                    return inside.value(inside._names.get(attribute), depth - 1)
        raise NotConstantError

    def known(self, node: ast.AST | None) -> dict[str, Any]:
        """Return the constant as an entry, or no entry where there is none."""
        try:
            return {"value": self.value(node)}
        except NotConstantError:
            return {}

    def _items(self, nodes: Iterable[ast.AST | None], depth: int) -> list[Any]:
        found: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                more = self.value(node.value, depth - 1)
                found += more if isinstance(more, list) else [more]
            else:
                found.append(self.value(node, depth - 1))
        return found

    def find(self, name: str) -> tuple[Scope, ast.AST | None]:
        """Return what a name stands for, and the scope where that was written."""
        if name in self._names:
            return self, self._names[name]
        if name in self._imported:
            path, original = self._imported[name]
            for file in (f"{path.replace('.', '/')}.py", f"{path.replace('.', '/')}/__init__.py"):
                if path.startswith("sglang.") and (tree := self._module(file)):
                    return Scope(self._module, tree.body).find(original)
        return self._outer.find(name) if self._outer else (self, None)


def _annotated(field: ast.AnnAssign, scope: Scope) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the flags of a field such as ``port: A[int, Arg(help="The port.", aliases=["-p"])] = 30000``."""
    annotation = field.annotation
    if not isinstance(field.target, ast.Name) or not isinstance(annotation, ast.Subscript):
        return
    parts = annotation.slice
    if ast.unparse(annotation.value) not in _ANNOTATED or not isinstance(parts, ast.Tuple):
        return
    for part in parts.elts[1:]:
        if isinstance(part, ast.Constant | ast.JoinedStr | ast.BinOp):
            given: dict[str, ast.expr] = {"help": part}
        elif isinstance(part, ast.Call) and ast.unparse(part.func).rpartition(".")[2] == "Arg":
            given = {keyword.arg: keyword.value for keyword in part.keywords if keyword.arg}
        else:
            continue
        if scope.known(given.get("no_cli")).get("value"):
            return
        _complete(given, ast.unparse(parts.elts[0]))
        if field.value is not None:
            given["default"] = field.value
        name = scope.known(given.get("cli_name")).get("value") or "--" + field.target.id.replace("_", "-")
        yield from _rows([name, *(scope.known(given.get("aliases")).get("value") or [])], given, scope)
        return


def _complete(given: dict[str, ast.expr], kind: str) -> None:
    """Add what the type of a field says of its argument, as `add_cli_args_from_dataclass` does."""
    more = given.get("action_kwargs")
    if isinstance(more, ast.Dict):
        given |= {key.value: value for key, value in zip(more.keys, more.values, strict=True)
                  if isinstance(key, ast.Constant) and isinstance(key.value, str)}  # fmt: skip
    kind = kind.replace("typing.", "")
    if optional := re.fullmatch(r"Optional\[(.+)\]|(.+?) *\| *None", kind):
        kind = optional[1] or optional[2]
    if kind.lower().startswith("list[") and not {"type_parser", "action"} & set(given):
        given.setdefault("nargs", ast.Constant("+"))
        kind = kind[5:-1]
    if kind == "bool" and "action" not in given:
        given["action"] = ast.Constant("store_true")
    if kind.startswith("Literal["):
        given.setdefault("choices", ast.parse(f"[{kind[8:-1]}]", mode="eval").body)
    if "type_parser" not in given and "action" not in given and kind in _TYPES:
        given["type"] = ast.Name(kind)


def _added(function: ast.FunctionDef, outer: Scope) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the flags that a function registers with ``add_argument``."""
    scope = Scope(outer._module, function.body, outer)  # noqa: SLF001 - the same class
    scope.forget(function)
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument":
            names = [str(scope.known(name).get("value")) for name in call.args]
            given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
            yield from _rows([name for name in names if name.startswith("-")], given, scope)


def _rows(names: list[str], given: dict[str, ast.expr], scope: Scope) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield one row for each of the names that one argument has, the first with the others as its aliases."""
    action = given.get("action")
    if isinstance(action, ast.Constant):
        name = str(action.value)
    else:
        name = ast.unparse(action).rpartition(".")[2] if action else "store"
    row: dict[str, Any] = {"action": name}
    for key in ("choices", "default", "nargs"):
        if key in given and (known := scope.known(given[key])):
            row[key] = known["value"]
    if "type" in given and (kind := ast.unparse(given["type"])) in _TYPES:
        row["type"] = kind
    text, instead = _text(given.get("help")), _text(given.get("new_flag"))
    if name.startswith("Deprecated") or _DEPRECATED.search(text):
        row["deprecated"] = True
        named = _NAMED.search(f"{text} {_text(given.get('error_message'))}")
        if (new := instead or (named[1] if named else "")) and new not in names:
            row["replaced_by"] = new
    for alias in names:
        others = {"aliases": names[1:]} if alias == names[0] else {"alias_of": names[0]}
        yield alias, {**row, **{key: value for key, value in others.items() if value}}
        if name == "BooleanOptionalAction" and alias.startswith("--"):
            yield f"--no-{alias[2:]}", {**row, "negates": alias}


def _text(node: ast.expr | None) -> str:
    """Return the constant parts of a text."""
    parts = list(ast.walk(node)) if node else []
    return "".join(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
