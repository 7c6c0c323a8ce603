"""An adapter merged into its base: for engines that cannot serve adapters."""

from __future__ import annotations

from pathlib import Path

from ah_ray import local_files, storage
from ah_ray.checkpoints import local_checkpoint
from ah_ray.members import Member
from ah_ray.models.architecture import find_architecture
from ah_ray.models.config import ModelConfig
from ah_ray.schemas import stable_id


def merged_checkpoint(member: Member) -> Path:
    """A local checkpoint folder with the member's adapter in its weights.

    It is made once per machine and kept in the cache folder; an adapter with other content gets
    a folder of its own.
    """
    adapter = storage.localize(member.uri)
    content = (adapter / "adapter_model.safetensors").read_bytes().hex()
    put_on = (adapter / "adapter_config.json").read_text()
    base = str(local_checkpoint(member.checkpoint))

    return local_files.cached_folder(
        f"merged-{stable_id(base, put_on, content)}",
        lambda folder: merge_adapter(base, adapter, member.card.model, folder),
    )


def merge_adapter(base: str, adapter: Path, settings: ModelConfig, folder: Path) -> None:
    """Write a checkpoint with an adapter in its weights.

    Args:
        base: a local checkpoint.
        adapter: a local folder with the adapter.
        settings: architecture and number format of both.
        folder: to write.
    """
    from peft import PeftModel

    from ah_ray.engines.transformers_engine import load_model

    model = PeftModel.from_pretrained(load_model(base, settings), str(adapter))
    model.merge_and_unload().save_pretrained(folder)
    find_architecture(settings.architecture).load_processor(base).save_pretrained(folder)
