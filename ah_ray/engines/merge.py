"""An adapter merged into its base: for engines that cannot serve adapters."""

from __future__ import annotations

from pathlib import Path

from ah_ray import local_files, storage
from ah_ray.checkpoints import local_checkpoint
from ah_ray.members import Member
from ah_ray.models.architecture import find_architecture
from ah_ray.schemas import stable_id


def merged_checkpoint(member: Member) -> Path:
    """A local checkpoint folder with the member's adapter in its weights.

    It is made once per machine and kept in the cache folder; an adapter with other content gets
    a folder of its own.
    """
    from peft import PeftModel

    from ah_ray.engines.transformers_engine import load_model

    adapter = storage.localize(member.uri)
    content = (adapter / "adapter_model.safetensors").read_bytes().hex()
    put_on = (adapter / "adapter_config.json").read_text()
    base = str(local_checkpoint(member.checkpoint))

    def merge(folder: Path) -> None:
        settings = member.card.model
        model = PeftModel.from_pretrained(load_model(base, settings), str(adapter))
        model.merge_and_unload().save_pretrained(folder)
        find_architecture(settings.architecture).load_processor(base).save_pretrained(folder)

    return local_files.cached_folder(f"merged-{stable_id(base, put_on, content)}", merge)
