"""The annotation file of BAH, one video at a time.

The file is large because it states a label per frame, which nobody needs: frames of a webcam have
no fixed rate, so times count. Those lists are passed over while parsing and never built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import yaml
from yaml.composer import Composer
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    StreamEndEvent,
)
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ah_ray.errors import ConfigError
from ah_ray.yaml_nodes import check_nodes

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML without libyaml: the same result, many times slower
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

SKIPPED = frozenset({"frame_annotation", "fr_detailed_ah"})


class _Loader(_SafeLoader, Composer):
    """libyaml's parser and the safe types, with nodes composed here so that some can be skipped."""

    def __init__(self, stream: BinaryIO) -> None:
        _SafeLoader.__init__(self, stream)
        Composer.__init__(self)

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """The next node; a null in place of the value of a skipped key ``index``."""
        if isinstance(index, ScalarNode) and index.value in SKIPPED:
            self._skip()
            return ScalarNode("tag:yaml.org,2002:null", "")
        return Composer.compose_node(self, parent, index)

    def _skip(self) -> None:
        """Pass over one value, but keep what an alias elsewhere may refer to."""
        depth = 0
        while True:
            event = self.peek_event()
            if getattr(event, "anchor", None) and not isinstance(event, AliasEvent):
                self.compose_node(None, None)
            else:
                self.get_event()
                self._require_known(event)
                depth += isinstance(event, CollectionStartEvent)
                depth -= isinstance(event, CollectionEndEvent)
            if depth == 0:
                return

    def _require_known(self, event: Event | None) -> None:
        """Fail on a tag that would be refused where it is not passed over."""
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and tag not in self.yaml_constructors:
            raise yaml.YAMLError(f"the tag {tag[:100]!r} is not known")


def _tuple(loader: _Loader, node: Node) -> tuple[Any, ...]:
    """The one tag of the file that is not plain YAML."""
    if not isinstance(node, SequenceNode):
        raise yaml.constructor.ConstructorError(None, None, "a tuple is a list", node.start_mark)
    return tuple(loader.construct_sequence(node, deep=True))


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def read_annotations(stream: BinaryIO, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key of the file, duplicates included, with its mapping (empty if it is none).

    Args:
        stream: the file.
        where: its name, for errors.

    Raises:
        ConfigError: the file is no YAML, no mapping by path, or wants to build an object.
    """
    loader = _Loader(stream)
    try:
        yield from _entries(loader)
    # ValueError and OverflowError: 2024-13-32 and 0001-01-01T00:00:00+23:59
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(where, f"cannot be read: {error}", "use the file as published") from None
    finally:
        loader.dispose()


def _entries(loader: _Loader) -> Iterator[tuple[str, dict[str, Any]]]:
    loader.get_event()  # the start of the stream
    if loader.check_event(StreamEndEvent):
        return
    loader.get_event()  # the start of the document
    if not loader.check_event(MappingStartEvent):
        raise yaml.YAMLError("it is no mapping by video path")
    loader.get_event()
    while not loader.check_event(MappingEndEvent):
        key = loader.compose_node(None, None)
        value = loader.compose_node(None, None)
        if not isinstance(key, ScalarNode):
            raise yaml.YAMLError("a key is no video path")
        check_nodes(value, merges=False)
        built = loader.construct_document(value) if isinstance(value, MappingNode) else {}
        yield key.value, built
    loader.get_event()  # the end of the mapping
    loader.get_event()  # the end of the document
    if not loader.check_event(StreamEndEvent):
        raise yaml.YAMLError("there is a second document in it")
