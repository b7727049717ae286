"""Whose tenant a statement leaves open, as PostgreSQL's own parser reads it.

A table of tenants is bound when what is asked of it holds `tenant_id` to something: a parameter,
the tenant of another table that is bound, what a join supplies. A condition under `or` binds
nothing, nor does a left join bind its left side. An insert is bound when it supplies the column.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pglast import parse_plpgsql, parse_sql

Node = Any
PARAMETER = re.compile(r"%\(\w+\)s")
ASSIGNED = re.compile(r"^\s*\w+\s*:=")
STATEMENTS = ("select", "with", "insert", "update", "delete")


class Source(NamedTuple):
    """What a statement reads from: the tables of tenants by alias, and whether there is more."""

    tables: set[str]
    others: bool

    def beside(self, other: "Source") -> "Source":
        return Source(self.tables | other.tables, self.others or other.others)


class Reader:
    """Reads one statement, of which `tables` and `functions` are about tenants."""

    def __init__(self, tables: Collection[str], open_functions: Collection[str]) -> None:
        self.tables = set(tables)
        self.functions = set(open_functions)

    def left_open(self, tree: Node) -> set[str]:
        """The tables, and the functions that name no tenant, whose tenant nothing holds."""
        named = {node["ctename"] for node in every(tree) if node["@"] == "CommonTableExpr"}
        self.tables -= named
        return {found for node in every(tree) for found in self._open_at(node)}

    def touched(self, tree: Node) -> set[str]:
        """All tables of tenants that are named in it."""
        return {
            node["relname"]
            for node in every(tree)
            if node["@"] == "RangeVar" and node["relname"] in self.tables
        }

    def _open_at(self, node: Node) -> Iterator[str]:
        match node["@"]:
            case "FuncCall":
                yield from {node["funcname"][-1]["sval"]} & self.functions
            case "InsertStmt":
                columns = {column["name"] for column in node.get("cols", ())}
                if node["relation"]["relname"] in self.tables and "tenant_id" not in columns:
                    yield node["relation"]["relname"]
            case "SelectStmt" | "UpdateStmt" | "DeleteStmt":
                yield from self._unbound(node)

    def _unbound(self, node: Node) -> set[str]:
        items = [node["relation"]] if "relation" in node else []
        items += [*node.get("fromClause", ()), *node.get("usingClause", ())]
        level = Level()
        sources = [self._source(item, level) for item in items]
        tables = {alias for source in sources for alias in source.tables}
        level.hold(node.get("whereClause"), tables, tables)
        return tables - level.bound()

    def _source(self, item: Node, level: "Level") -> Source:
        if item["@"] == "RangeVar":
            alias = item.get("alias", {}).get("aliasname", item["relname"])
            ours = item["relname"] in self.tables
            return Source({alias} if ours else set(), not ours)
        if item["@"] != "JoinExpr":
            return Source(set(), others=True)
        left, right = self._source(item["larg"], level), self._source(item["rarg"], level)
        both = left.beside(right)
        kind = item["jointype"]["name"]
        may = {"JOIN_INNER": both.tables, "JOIN_LEFT": right.tables}.get(kind, set())
        if any(column["sval"] == "tenant_id" for column in item.get("usingClause", ())):
            level.join(left, right, may)
        level.hold(item.get("quals"), both.tables, may)
        return both


class Level:
    """What the conditions of one level of a statement hold together."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._follow: list[tuple[str, str]] = []

    def join(self, left: Source, right: Source, may: set[str]) -> None:
        """Two sides have one tenant; only those that `may` be are bound by it."""
        for one, other in ((left, right), (right, left)):
            self._held |= one.tables & may if other.others else set()
            self._follow += [(a, b) for a in one.tables & may for b in other.tables]

    def hold(self, condition: Node | None, tables: set[str], may: set[str]) -> None:
        """Take in what `condition` asks of those of `tables` that it `may` bind."""
        for left, right in equalities(condition):
            for one, other in ((left, right), (right, left)):
                meant = tenant_of(one, tables) & may
                others = tenant_of(other, tables)
                self._follow += [(a, b) for a in meant for b in others]
                self._held |= set() if others else meant

    def bound(self) -> set[str]:
        """The tables that are held, by themselves or by another."""
        found = set(self._held)
        while more := {a for a, b in self._follow if b in found} - found:
            found |= more
        return found


def every(tree: Node) -> Iterator[Node]:
    """All nodes of a tree."""
    if isinstance(tree, dict):
        if "@" in tree:
            yield tree
        for value in tree.values():
            yield from every(value)
    elif isinstance(tree, tuple | list):
        for value in tree:
            yield from every(value)


def equalities(condition: Node | None) -> Iterator[tuple[Node, Node]]:
    """What must be equal for the whole `condition` to hold."""
    match condition:
        case {"@": "BoolExpr", "boolop": {"name": "AND_EXPR"}, "args": args}:
            for each in args:
                yield from equalities(each)
        case {"@": "CoalesceExpr", "args": (first, {"val": {"boolval": False}})}:
            yield from equalities(first)
        case {"@": "A_Expr", "name": ({"sval": "="},), "lexpr": left, "rexpr": right}:
            yield from pairs(left, right)
        case {"@": "SubLink", "subLinkType": {"name": "ANY_SUBLINK"}, "testexpr": left}:
            # The sub-select is a level of its own.
            yield from ((each, None) for each in row_of(left))


def pairs(left: Node, right: Node) -> Iterator[tuple[Node, Node]]:
    lefts, rights = row_of(left), row_of(right)
    yield from zip(lefts, rights, strict=True) if len(lefts) == len(rights) else [(left, right)]


def row_of(node: Node) -> list[Node]:
    is_row = isinstance(node, dict) and node["@"] == "RowExpr"
    return list(node["args"]) if is_row else [node]


def tenant_of(node: Node, tables: set[str]) -> set[str]:
    """The tables whose `tenant_id` a node is; without a name it is that of all."""
    match node:
        case {"@": "ColumnRef", "fields": ({"sval": "tenant_id"},)}:
            return set(tables)
        case {"@": "ColumnRef", "fields": ({"sval": table}, {"sval": "tenant_id"})}:
            return {table} & tables
    return set()


def trees(sql: str) -> list[Node]:
    """The statements of `sql`, whose parameters are psycopg's."""
    found = parse_sql(PARAMETER.sub("$1", sql).replace("%%", "%"))
    return [each.stmt(skip_none=True) for each in found]


def body_of(definition: str) -> list[Node]:
    """The statements in the body of a function."""
    (tree,) = trees(definition)
    if "sql_body" in tree:
        return [tree["sql_body"]]
    queries = list(queries_of(parse_plpgsql(definition)))
    return [node for query in queries for node in trees(query)]


def queries_of(parsed: Node) -> Iterator[str]:
    """The queries in what PL/pgSQL's parser gives; an expression is made a query."""
    if isinstance(parsed, list):
        for each in parsed:
            yield from queries_of(each)
    elif isinstance(parsed, dict):
        if isinstance(query := parsed.get("query"), str):
            query = ASSIGNED.sub("", query)
            yield query if query.lower().lstrip().startswith(STATEMENTS) else f"select {query}"
        for value in parsed.values():
            yield from queries_of(value)
