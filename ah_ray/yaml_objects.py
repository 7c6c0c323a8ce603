"""YAML as frozen, typed objects: the one loader for every YAML file that is ours.

A wrong key, a missing file or a bad value is a ``ConfigError`` that names the file, the key and
the fix.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from ah_ray.errors import ConfigError
from ah_ray.findings import shown
from ah_ray.yaml_nodes import check_nodes, check_size

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Frozen(BaseModel):
    """Base of every config object: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and not _takes_truth(cls.model_fields[info.field_name or ""]):
            raise ValueError("true and false are no numbers")
        return value


def _takes_truth(field: FieldInfo) -> bool:
    """Whether a field is for more than numbers; pydantic would read true as 1."""
    kinds = {field.annotation, *get_args(field.annotation)}
    plain = {get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds}
    return bool(plain - {int, float, type(None), field.annotation}) or not plain & {int, float}


Model = TypeVar("Model", bound=BaseModel)


def load_yaml(path: str | Path, model: type[Model]) -> Model:
    """Read one YAML file as ``model``.

    Raises:
        ConfigError: the file is missing, is no YAML, or does not fit ``model``.
    """
    return build(model, read_yaml(path), str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, read with the safe loader.

    Raises:
        ConfigError: the file is missing or is no YAML mapping.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(str(path), "there is no such file", "check the path") from None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", "name a file") from None
    return parse_yaml(content, str(path))


def parse_yaml(content: bytes, where: str) -> dict[str, Any]:
    """The mapping in a YAML text, read with the safe loader.

    Raises:
        ConfigError: the text is no YAML mapping; ``where`` names it.
    """
    try:
        loader = yaml.SafeLoader(content)
        node = loader.get_single_node()
        check_nodes(node, merges=True)
        check_size(node)
        values = None if node is None else loader.construct_document(node)
    # ValueError and OverflowError: a date that is none
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(where, f"is no YAML: {error}", "correct the syntax") from None
    if not isinstance(values, dict):
        raise ConfigError(where, "holds no mapping", "write `key: value` lines")
    return values


def build(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """``model`` from plain values.

    Raises:
        ConfigError: with one line per wrong key or value, the nearest valid name included.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_explain(model, item) for item in error.errors()]
    keys = ", ".join(key for key, _, _ in problems)
    raise ConfigError(
        f"{where}: {keys}",
        "; ".join(
            f"{key}: {problem}" if len(problems) > 1 else problem for key, problem, _ in problems
        ),
        "; ".join(dict.fromkeys(fix for _, _, fix in problems)),
    )


def _explain(model: type[BaseModel], item: Any) -> tuple[str, str, str]:
    """Key, problem and fix of one validation error of pydantic."""
    location = [str(part) for part in item["loc"]]
    key = ".".join(location) or "(whole file)"
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        fix = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
        return key, "unknown key", fix
    if item["type"] == "missing":
        return key, "is missing", f"add {key}"
    problem = item["msg"].removeprefix("Value error, ")
    return key, f"{problem}, got {shown(item['input'])}", f"correct {key}"


def _known_keys(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The keys that are valid at ``location`` below ``model``."""
    current: Any = model
    for part in location:
        # A part is a key of a model, a name in a mapping of models, or the kind of one of several.
        if _is_model(current):
            current = current.model_fields[part].annotation
        else:
            several = [kind for kind in get_args(current) if _is_model(kind)]
            of_kind = (k for k in several if part in get_args(_kind_of(k)))
            inside = [kind for kind in get_args(current) if kind is not ...]  # of a tuple
            current = next(of_kind, inside[-1])
        if type(None) in (choices := get_args(current)):  # an optional section
            current = next(choice for choice in choices if choice is not type(None))
    return sorted(current.model_fields) if _is_model(current) else []


def _kind_of(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("kind")
    return field and field.annotation


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def with_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """``values`` with settings of the form ``a.b=value`` (value in YAML syntax) put into them.

    Raises:
        ConfigError: an override is no ``key=value``, or its key leads into a plain value.
    """
    result = copy.deepcopy(dict(values))
    for override in overrides:
        if not re.match(r"^[\w.-]+=", override):
            raise ConfigError("--set", f"{override!r} is no key=value", "--set score.batch_size=8")
        key, _, text = override.partition("=")
        *parents, last = key.split(".")
        section = result
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise ConfigError("--set", f"{parent} in {key} holds no keys", "check the key")
        try:
            section[last] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
            fix = "put quotation marks around it"
            raise ConfigError("--set", f"the value in {override!r} is no YAML", fix) from None
    return result


def differences(known: Any, now: Any, key: str) -> list[tuple[str, Any, Any]]:
    """Where two plain values differ: the key of each difference, and both values there.

    >>> differences({"clip_s": 5.0, "tail": "drop"}, {"clip_s": 4.0, "tail": "drop"}, "rule")
    [('rule.clip_s', 5.0, 4.0)]
    """
    if not (isinstance(known, Mapping) and isinstance(now, Mapping)):
        return [] if known == now else [(key, known, now)]
    return [
        found
        for part in dict.fromkeys([*known, *now])
        for found in differences(known.get(part), now.get(part), f"{key}.{part}")
    ]
