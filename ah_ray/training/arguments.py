"""``extra_args`` against the arguments that the installed MS-Swift takes."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
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
    parser, known = swift_parser(recipe.algorithm)
    for name, value in recipe.extra_args.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            fix = f"did you mean {near[0]}?" if near else "see `swift sft --help`"
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
