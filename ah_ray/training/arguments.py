"""``extra_args`` against the arguments that the installed MS-Swift takes.

Those of its Megatron trainer are in modules that import megatron-core: there, the classes are read
without their methods, which leaves names, types and choices.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import typing
from pathlib import Path
from typing import Any, Literal

from ah_ray.errors import ConfigError
from ah_ray.training.recipe import RecipeConfig


def require_known(recipe: RecipeConfig, where: str) -> None:
    """Fail when ``extra_args`` has a name or value that MS-Swift would refuse.

    Args:
        recipe: its ``extra_args`` are looked at.
        where: names them in the error.

    Raises:
        ConfigError: with the nearest name that MS-Swift knows.
    """
    if not recipe.extra_args:
        return  # importing MS-Swift takes seconds
    of_megatron = recipe.trainer == "megatron"
    parser, known = megatron_parser() if of_megatron else swift_parser(recipe.algorithm)
    for name, value in recipe.extra_args.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            see = "MS-Swift's documentation" if of_megatron else "`swift sft --help`"
            fix = f"did you mean {near[0]}?" if near else f"see {see}"
            raise ConfigError(f"{where}.{name}", "the installed MS-Swift has no such argument", fix)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        try:
            parser.parse_args([f"--{name}", text])
        except (argparse.ArgumentError, argparse.ArgumentTypeError) as error:
            raise ConfigError(f"{where}.{name}", str(error), f"correct {text!r}") from None


def swift_parser(algorithm: Literal["sft", "grpo"]) -> tuple[Any, set[str]]:
    """The parser of the ``swift`` command for ``algorithm``, and the names that it knows."""
    from swift.arguments import RLHFArguments, SftArguments
    from transformers import HfArgumentParser

    arguments = RLHFArguments if algorithm == "grpo" else SftArguments
    names = {field.name for field in dataclasses.fields(arguments)}
    return HfArgumentParser(arguments, exit_on_error=False), names


def megatron_parser() -> tuple[Any, set[str]]:
    """The same for ``megatron sft``; megatron-core need not be there.

    ``MegatronSftArguments`` with what it inherits is built from the sources of MS-Swift, of which
    the fields alone are run.
    """
    import swift
    import torch
    from swift.arguments import BaseArguments
    from transformers import HfArgumentParser

    folder = Path(swift.__file__).parent / "megatron" / "arguments"
    built: dict[str, Any] = {
        **{name: getattr(typing, name) for name in typing.__all__},
        **{"BaseArguments": BaseArguments, "torch": torch},
        **{"dataclass": dataclasses.dataclass, "field": dataclasses.field},
    }
    for name in ("megatron_args.py", "megatron_base_args.py", "sft_args.py"):
        tree = ast.parse((folder / name).read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for one in classes:
            fields = [node for node in one.body if isinstance(node, ast.AnnAssign)]
            one.body = [*fields] or [ast.Pass()]
        # Without the future statement of this file: annotations are types, not text.
        module = ast.Module([*classes], [])
        exec(compile(module, str(folder / name), "exec", dont_inherit=True), built)
        for one in classes:
            annotations = built[one.name].__annotations__
            annotations |= {key: _on_a_command_line(hint) for key, hint in annotations.items()}
    arguments = built["MegatronSftArguments"]
    names = {field.name for field in dataclasses.fields(arguments)}
    return HfArgumentParser(arguments, exit_on_error=False), names


def _on_a_command_line(hint: Any) -> Any:
    """The type of an argument; what may be text, something else or nothing is text.

    Of three, the parser of transformers looks at the second one alone, and which one that is
    depends on what the process has imported: ``typing`` remembers a union in the order of its first
    mention.
    """
    kinds = typing.get_args(hint)
    is_union = typing.get_origin(hint) is typing.Union
    return str | None if is_union and len(kinds) > 2 and str in kinds else hint
