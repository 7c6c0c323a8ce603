"""What no YAML file of ours or of an archive may hold, whichever loader reads it.

A file of 350 bytes can mean a mapping of a thousand million entries: by merge keys (``<<``) that
name each other, or by aliases that name each other in a key, of which Python computes a hash. And
of a key that is there twice PyYAML keeps the last without a word.
"""

from __future__ import annotations

from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_MERGE = "tag:yaml.org,2002:merge"
_MOST = 10_000  # values that a file may mean by its aliases, besides those that it writes


def check_nodes(root: Node | None, merges: bool) -> None:
    """Look at the keys and texts of a file, or of a part of it, before anything is built.

    Args:
        root: the file or part.
        merges: whether merge keys are allowed.

    Raises:
        YAMLError: a key is no plain value, is there twice, or is a merge key that is not allowed;
            a text has half of a character, which no table could hold.
    """
    left, seen = [root] if root is not None else [], {id(root)}
    while left:
        node = left.pop()
        _require_text(node)
        names: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, MappingNode) else ():
            if not isinstance(key, ScalarNode):
                raise _error("a key is no plain value", key)
            if key.tag == _MERGE and not merges:
                raise _error("it merges mappings by the key <<: write them out", key)
            if (key.tag, key.value) in names:
                raise _error(f"the key {key.value[:100]!r} is there twice", key)
            _require_text(key)
            names.add((key.tag, key.value))
        new = [child for child in _values(node) if id(child) not in seen]
        seen.update(map(id, new))
        left += new


def check_size(root: Node | None) -> None:
    """Look at how much a file means with all its aliases written out, before anything is built.

    Raises:
        YAMLError: an alias is inside of what it names, or it is more than 10,000 values.
    """
    sizes: dict[int, int] = {}  # of each node; 0 while those inside of it are looked at
    path = [(root, _values(root))] if root is not None else []
    while path:
        node, left = path[-1]
        if not left:
            path.pop()
            size = 1 + sum(sizes[id(child)] for child in _values(node))
            sizes[id(node)] = size
            if size - len(sizes) > _MOST:
                raise _error(f"its aliases mean more than {_MOST:,} values", node)
            continue
        sizes[id(node)] = 0
        child = left.pop()
        if id(child) not in sizes:
            path.append((child, _values(child)))
        elif not sizes[id(child)]:
            raise _error("an alias is inside of what it names", child)


def _require_text(node: Node) -> None:
    try:
        if isinstance(node, ScalarNode):
            node.value.encode()
    except UnicodeEncodeError:
        raise _error("a text has half of a character", node) from None


def _values(node: Node) -> list[Node]:
    """The nodes inside of a node, without the keys."""
    if isinstance(node, MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _error(problem: str, node: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
