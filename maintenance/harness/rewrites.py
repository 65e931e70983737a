"""Rewrites of code that keep its results, except for rounding."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Scope = _Function | ast.ClassDef | ast.Lambda
_FLIPPED: dict[type, type[ast.cmpop]] = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}
_TO_FLOAT64 = """
def _to_float64(value):
    return value.double() if str(getattr(value, "dtype", "")) == "torch.float32" else value
"""


def renamed(source: str) -> str:
    """Local variables have other names."""
    tree = ast.parse(source)
    for function in _functions(tree):
        names = _local_names(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and node.id in names:
                node.id += "_renamed"
    return ast.unparse(tree)


def _local_names(function: _Function) -> set[str]:
    """Names that only assignments of the function itself bind, and no inner definition knows otherwise."""
    inner = [each for each in ast.walk(function) if isinstance(each, _Scope) and each is not function]
    bound = {node.id for node in _stored(function)}
    other = {each.arg for each in ast.walk(function) if isinstance(each, ast.arg)}
    other |= {each.name for each in inner if not isinstance(each, ast.Lambda)}
    other |= {node.id for each in inner for node in _stored(each)}
    for node in ast.walk(function):
        match node:
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                other |= set(names)
            case ast.alias(name=name, asname=asname):
                other.add(asname or name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)):
                other.add(name)
            case ast.Name(id="locals" | "eval" | "exec"):
                return set()
    return bound - other


def _stored(node: ast.AST) -> Iterator[ast.Name]:
    return (
        each
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store | ast.Del)
    )


def reassociated(source: str) -> str:
    """``a + b + c`` becomes ``a + (b + c)``, ``a * b`` becomes ``b * a``, and ``a < b`` becomes ``b > a``."""
    return ast.unparse(ast.fix_missing_locations(_Reassociation().visit(ast.parse(source))))


class _Reassociation(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.BinOp(ast.BinOp(a, ast.Add(), b), ast.Add() as op, c):
                return ast.BinOp(a, op, ast.BinOp(b, op, c))
            case ast.BinOp(left, ast.Mult() as op, right):
                return ast.BinOp(right, op, left)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) == 1 and type(node.ops[0]) in _FLIPPED:
            return ast.Compare(node.comparators[0], [_FLIPPED[type(node.ops[0])]()], [node.left])
        return node


def restructured(source: str) -> str:
    """Branches stand in the other order, and what is returned has a name first."""
    return ast.unparse(ast.fix_missing_locations(_Restructuring().visit(ast.parse(source))))


class _Restructuring(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        if node.orelse:
            return ast.If(ast.UnaryOp(ast.Not(), node.test), node.orelse, node.body)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.orelse, node.body)

    def visit_Return(self, node: ast.Return) -> Any:
        self.generic_visit(node)
        if node.value is None:
            return node
        return [
            ast.Assign([ast.Name("what_it_gives", ast.Store())], node.value),
            ast.Return(ast.Name("what_it_gives", ast.Load())),
        ]


def widened(source: str) -> str:
    """Tensors of float32 that are returned become float64."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and node.value is not None:
            node.value = ast.Call(ast.Name("_to_float64", ast.Load()), [node.value], [])
    return _TO_FLOAT64 + ast.unparse(ast.fix_missing_locations(tree))


def _functions(tree: ast.Module) -> Iterator[_Function]:
    """The functions that stand in no other function."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(ast.Module(node.body, []))
        elif isinstance(node, _Function):
            yield node


REWRITES: dict[str, Callable[[str], str]] = {
    "renamed variables": renamed,
    "reassociated": reassociated,
    "other structure": restructured,
    "float64 for float32": widened,
}
