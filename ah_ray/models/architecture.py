"""What engines and training ask of an architecture; each has one module beside this one."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ah_ray import storage
from ah_ray.checkpoints import CONFIG, is_hub_id, require_checkpoint
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig
from ah_ray.media.faces import find_detector
from ah_ray.models.config import ModelConfig
from ah_ray.names import find

if TYPE_CHECKING:
    from ah_ray.media.decode import DecodedClip  # ffmpeg with it

#: Ours by name, each as ``module:attribute``.
ARCHITECTURES = {
    "qwen3_omni": "ah_ray.models.qwen3_omni:QWEN3_OMNI",
    "qwen2_5_vl": "ah_ray.models.qwen2_5_vl:QWEN2_5_VL",
    "qwen2_5_vl_hybrid": "ah_ray.models.hybrid:QWEN2_5_VL_HYBRID",
    "internvl": "ah_ray.models.internvl:INTERNVL",
    "qwen2_5_text": "ah_ray.models.qwen_text:QWEN2_5_TEXT",
    "qwen3_text": "ah_ray.models.qwen_text:QWEN3_TEXT",
}


#: Told of rendered prompts, what tells after their answers the gates of each one's media.
PromptGates = Callable[[Sequence[Any]], Callable[[], Sequence[list[dict[str, float]] | None]]]


class Parts(NamedTuple):
    """What weights belong to, by how their names in a checkpoint begin.

    Attributes:
        language: the language model.
        towers: what sees and hears.
        aligner: what projects from there into the language model; it may lie inside of a tower.
        unused: what no task here needs, such as speech output; it is never loaded.
        named: further parts that recipes may train alone, by name; they lie in those above.
    """

    language: tuple[str, ...]
    towers: tuple[str, ...]
    aligner: tuple[str, ...]
    unused: tuple[str, ...] = ()
    named: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What is particular to an architecture. Nothing large is imported before a function is called.

    Attributes:
        model_type: what ``config.json`` calls it.
        kinds: the media that it can be given, of image, video and audio.
        unit: width and height of its pictures are multiples of this, in pixels.
        swift_model: MS-Swift's name of it.
        swift_template: MS-Swift's name of its chat template.
        parts: of its weights.
        lora_targets: the named ``lora_targets`` of recipes: patterns of whole names of weights.
        name_in_memory: of a layer, by its name in a checkpoint.
        load_processor: of the checkpoint in a local folder; it pads on the left, as generation
            needs it.
        load_model: the same, in a number format of torch and with an attention kernel, by name. Its
            positions are those that MS-Swift trains with.
        core: the part of a model that answers and is trained.
        encode: the model's inputs for conversations that are worded alike, one for each clip:
            ``(processor, text, kinds, clips)``. Frames come at their final size and rate; where
            the kinds have images, one for each frame, each of them is an image.
        times: which of these inputs are times, in seconds.
        vllm_limits: what vLLM is to have room for, by kind of media: ``(kinds, longest clip)``.
        vllm_media: how vLLM is given a clip, as part of a prompt: ``(kinds, clip)``.
        swift_environment: what makes MS-Swift leave clips as our reader, called so, gives them.
        read_with: make MS-Swift read with ours: ``(name, reader of pictures, reader of sound)``.
        square: width and height of the only pictures that a checkpoint reads, in pixels, by its
            config; None where they may differ.
        register_vllm: make vLLM and transformers know one that they do not come with.
        gates: the weight of each expert for every picture or video of a core's last pass, by name;
            None where it has no gate, or was shown nothing since they were read last.
        vllm_gates: the same of a ``vllm.LLM``, for each of its prompts; a list is None where not
            all media of a prompt were seen. None for an architecture without gates.
        register: make MS-Swift know an architecture that it does not come with.
    """

    model_type: str
    kinds: tuple[str, ...]
    unit: int
    swift_model: str
    swift_template: str
    parts: Parts
    lora_targets: Mapping[str, str]
    name_in_memory: Callable[[str], str]
    load_processor: Callable[[str], Any]
    load_model: Callable[[str, str, str], Any]
    core: Callable[[Any], Any]
    encode: Callable[[Any, str, Sequence[str], Sequence[DecodedClip]], Any]
    times: tuple[str, ...]
    vllm_limits: Callable[[Sequence[str], DecodedClip], dict[str, Any]]
    vllm_media: Callable[[Sequence[str], DecodedClip], dict[str, Any]]
    swift_environment: Callable[[MediaConfig, str], dict[str, str]]
    read_with: Callable[[str, Callable[..., Any], Callable[..., Any]], None]
    square: Callable[[Mapping[str, Any]], int] | None = None
    register_vllm: Callable[[], None] = lambda: None
    gates: Callable[[Any], list[dict[str, float]] | None] = lambda core: None
    vllm_gates: Callable[[Any], PromptGates] | None = None
    register: Callable[[], None] = lambda: None


def find_architecture(name: str) -> Architecture:
    """The architecture ``name``, or one of your own at ``module:attribute``.

    Raises:
        ConfigError: there is no such architecture.
    """
    found = find(name, ARCHITECTURES, "model.architecture")
    found = pkgutil.resolve_name(found) if isinstance(found, str) else found
    if not isinstance(found, Architecture):
        fix = "name an ah_ray.models.architecture.Architecture"
        raise ConfigError("model.architecture", f"{name} is a {type(found).__name__}", fix)
    return found


def require_media(model: ModelConfig, media: MediaConfig, where: str) -> None:
    """Fail when a model cannot be given what the media settings say.

    Args:
        model: names the architecture.
        media: what it is to get of a clip.
        where: the file that says both.

    Raises:
        ConfigError: it has no ears or no eyes for that, or reads pictures of other sizes.
    """
    architecture = find_architecture(model.architecture)
    if missing := [kind for kind in media.kinds if kind not in architecture.kinds]:
        key = "audio" if missing[0] == "audio" else "picture"
        pictures = {"images": "image", "video": "video"} if key == "picture" else {}
        taken = [how for how, kind in pictures.items() if kind in architecture.kinds]
        raise ConfigError(
            f"{where}: media.{key}",
            f"is {getattr(media, key)}, but {model.architecture} takes no {missing[0]}",
            f"set media.{key} to {' or '.join([*taken, 'none'])}",
        )
    if media.picture == "none":
        return
    if media.faces is not None:
        find_detector(media.faces, f"{where}: media.faces")
    if architecture.square is not None and media.square is None:
        raise ConfigError(
            f"{where}: media.square",
            f"is null, but {model.architecture} reads pictures of one size",
            "set it to the image_size in vision_config of the checkpoint's config.json",
        )
    if media.size_multiple % architecture.unit:
        raise ConfigError(
            f"{where}: media.size_multiple",
            f"is {media.size_multiple}, but {model.architecture} reads pictures in squares of "
            f"{architecture.unit} pixels",
            f"set it to {architecture.unit}, and min_pixels and max_pixels to what suits it",
        )


def require_model(model: ModelConfig, media: MediaConfig, where: str) -> None:
    """Fail unless the checkpoint of a model is there, of its architecture, and reads ``media``.

    See ``require_type`` and ``require_square``.

    Raises:
        ConfigError: it is not or does not; ``where`` names the model in the config.
    """
    require_checkpoint(model.path, f"{where}.path")
    require_type(model.path, model.architecture, where)
    require_square(model.path, model.architecture, media)


def require_square(
    checkpoint: str, architecture: str, media: MediaConfig, where: str = "media"
) -> None:
    """Fail when a checkpoint reads pictures of one size, and is to be given others.

    They would be resized once more, or cut into tiles of many times the tokens.

    Args:
        checkpoint: a folder (any fsspec URI) or a hub id, which is looked at when it is here.
        architecture: the name of its own.
        media: what it is to get of a clip.
        where: what names that in the config.

    Raises:
        ConfigError: with the size that it reads.
    """
    square = find_architecture(architecture).square
    if square is None or media.picture == "none" or is_hub_id(checkpoint):
        return
    file = storage.join(checkpoint, CONFIG)
    size = square(json.loads(storage.read_bytes(file)))
    if media.square != size:
        problem = f"is {media.square}, and {file} is of a model of pictures of {size} pixels"
        raise ConfigError(f"{where}.square", problem, f"set it to {size}")


def require_type(checkpoint: str, architecture: str, where: str = "model") -> None:
    """Fail when the weights in a checkpoint are of another architecture.

    Nothing is asked of a hub: its models are looked at when they are here.

    Args:
        checkpoint: a folder (any fsspec URI) or a hub id.
        architecture: the name of the one that is expected.
        where: what names it in the config.

    Raises:
        ConfigError: naming both.
    """
    if is_hub_id(checkpoint):
        return
    expected = find_architecture(architecture).model_type
    file = storage.join(checkpoint, CONFIG)
    found = json.loads(storage.read_bytes(file)).get("model_type")
    if found == expected:
        return
    ours = architecture_of_type(str(found))
    raise ConfigError(
        f"{where}.architecture",
        f"is {architecture}, which is model_type {expected}; {file} says {found}",
        f"set it to {ours}, or name another checkpoint"
        if ours
        else f"name another checkpoint, or an architecture of your own for {found}",
    )


def architecture_of_type(model_type: str) -> str | None:
    """The name of our architecture that ``config.json`` calls ``model_type``."""
    return next(
        (name for name in ARCHITECTURES if find_architecture(name).model_type == model_type), None
    )
