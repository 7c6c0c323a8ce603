"""The vLLM engine: its CUDA build on GPUs, its CPU build elsewhere."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ah_ray import storage
from ah_ray.checkpoints import local_checkpoint, local_config
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import (
    Item,
    Replies,
    Reply,
    gate_of,
    weighed_reply,
    written_reply,
)
from ah_ray.engines.longest import longest_media, tokens_of
from ah_ray.engines.rendering import Renderers, threads_of
from ah_ray.engines.wording import Tokens, Wording, scores_of_reply, wording
from ah_ray.ensemble import EngineGroup
from ah_ray.members import Member, MemberCard
from ah_ray.models.architecture import PromptGates, find_architecture, require_square, require_type
from ah_ray.training.adapters import weights_of

# Room for each text in a prompt; a longer one is an error of its clip.
_READ_TOKENS = 1024


def serves_adapters(group: EngineGroup, settings: ScoreConfig) -> bool:
    """Whether vLLM puts adapters on the group's checkpoint itself.

    Its class of the architecture says so; but it reads no adapter on fused experts (PEFT's
    ``target_parameters``), takes none on what sees and hears, or without a word, and on a CPU its
    kernels for adapters on models with experts do not run. On a GPU they do, but in the place of
    its fast ones: who is alone on such a model is merged into it.
    """
    if any(_adapter_config(member).get("target_parameters") for member in group.members):
        return False
    if any(map(_reaches_towers, group.members)):
        return False
    from transformers import AutoConfig

    find_architecture(group.members[0].card.model.architecture).register_vllm()
    config = AutoConfig.from_pretrained(str(local_config(group.checkpoint)))
    has_experts = getattr(config.get_text_config(), "num_experts", None)
    if has_experts and (not settings.gpus_per_actor or len(group.members) == 1):
        return False
    from vllm import ModelRegistry
    from vllm.model_executor.models.interfaces import supports_lora

    return bool(supports_lora(ModelRegistry.models[config.architectures[0]].load_model_cls()))


def _no_gates(prompts: Sequence[Any]) -> Callable[[], list[None]]:
    return lambda: [None] * len(prompts)


def _adapter_config(member: Member) -> dict[str, Any]:
    """PEFT's settings of a member's adapter; none of a member without."""
    if member.card.weights != "adapter":
        return {}
    return dict(json.loads(storage.read_bytes(storage.join(member.uri, "adapter_config.json"))))


def _reaches_towers(member: Member) -> bool:
    """Whether a member's adapter is also put on something else than the language model."""
    if member.card.weights != "adapter":
        return False
    architecture = find_architecture(member.card.model.architecture)
    language = tuple(map(architecture.name_in_memory, architecture.parts.language))
    names = (name.removeprefix("base_model.model.") for name in weights_of(member.uri))
    return not all(name.startswith(language) for name in names)


class VllmEngine:
    """One checkpoint in vLLM, with the adapters of its members."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        """Load the checkpoint; an adapter that vLLM cannot serve is merged into it first.

        Args:
            group: the checkpoint and its members; one member if its adapter is to be merged.
            settings: whole ``gpus_per_actor`` share the model (tensor parallelism), a fraction is
                the share of the GPU's memory; ``engine_args`` go to ``vllm.LLM`` as they are.
        """
        import torch

        # Beside a GPU several threads render, each with a core of its own.
        cores = 1 if settings.gpus_per_actor else round(settings.cpus_per_actor)
        torch.set_num_threads(max(1, cores))
        threads = threads_of(settings)
        # The engine runs in this process: one process to watch, and half the start-up time.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        from vllm import LLM
        from vllm.lora.request import LoRARequest

        adapters = [member for member in group.members if member.card.weights == "adapter"]
        served = bool(adapters) and serves_adapters(group, settings)
        if adapters and not served:
            from ah_ray.engines.merge import merged_checkpoint

            (member,) = group.members
            path = str(merged_checkpoint(member))
        else:
            path = str(local_checkpoint(group.checkpoint))
        card = group.members[0].card
        settled_on = card.model.architecture
        require_type(path, settled_on)
        require_square(path, settled_on, card.media)
        self.architecture = find_architecture(settled_on)
        self.architecture.register_vllm()
        self.processor = processor = self.architecture.load_processor(path)
        self.wordings = {member.name: wording(processor, member) for member in group.members}
        # Several questions about a clip share what the model remembers of it.
        self.shares_prefixes = any(
            len(self._contexts(member, self.wordings[member.name])) > 1 for member in group.members
        )
        asked_once = len(group.members) == 1 and not self.shares_prefixes
        self.loras: dict[str, Any] = {}
        lora_arguments: dict[str, Any] = {}
        if served:
            folders = {member.name: storage.localize(member.uri) for member in adapters}
            settled = [_adapter_config(member) for member in adapters]
            ranks = [max([c["r"], *(c.get("rank_pattern") or {}).values()]) for c in settled]
            lora_arguments = {
                "enable_lora": True,
                # A place stays empty where a base model is asked too: on a CPU vLLM gives it the
                # adapter in the last one.
                "max_loras": len(group.members),
                "max_lora_rank": _lora_rank(max(ranks)),
            }
            self.loras = {
                name: LoRARequest(name, number, str(folder))
                for number, (name, folder) in enumerate(folders.items(), start=1)
            }
        gpus = settings.gpus_per_actor
        self.arguments: dict[str, Any] = {
            "model": path,
            "dtype": card.model.dtype,
            "tensor_parallel_size": max(1, int(gpus)),
            "gpu_memory_utilization": 0.9 * min(gpus, 1) or 0.9,
            "enforce_eager": not gpus,  # compiling takes longer on a CPU than it saves
            **self._room(processor, [member.card for member in group.members]),
            "mm_processor_cache_gb": 0 if asked_once else 4 / threads,
            "enable_prefix_caching": self.shares_prefixes,
            **lora_arguments,
            **settings.engine_args,
        }
        if not gpus and self.arguments["enforce_eager"]:
            # Even so each process would compile a line of vLLM's sampler, with a C++ compiler.
            torch.compiler.set_stance("force_eager")
        self.llm = LLM(**self.arguments)
        self.renderers = Renderers(self.llm.llm_engine.vllm_config, self.llm.renderer, threads)
        gates = self.architecture.vllm_gates
        self.gates: PromptGates = gates(self.llm) if gates else _no_gates
        self.batches = itertools.count()

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> Replies:
        """Greedy replies; see ``Engine``."""
        return self.begin(members, items)()

    def begin(self, members: Sequence[Member], items: Sequence[Item]) -> Callable[[], Replies]:
        """Render the prompts; see ``OverlappingEngine``.

        What vLLM computes together depends on when it is given what. So it gets a batch whole, and
        no other beside it; else the same clip would have other chances in the next run.
        """
        asked = list(self.requests(members, items))
        rendered = self.renderers.render([prompt for prompt, *_ in asked], [n for *_, n in asked])
        requests = [
            (prompt, params, member)
            for prompt, (_, params, member, _) in zip(rendered, asked, strict=True)
        ]
        # All are shown the same of an item: by the first member's questions one sees its gate.
        first = len(self._contexts(members[0], self.wordings[members[0].name])) if members else 1
        seen = self.gates([prompt for prompt, *_ in requests[: first * len(items) : first]])

        def replies() -> Replies:
            outputs = iter(self._run(requests))
            gates = [*map(gate_of, seen())]

            def read(member: Member) -> Reply:
                words = self.wordings[member.name]
                return self._read(
                    member, words, [next(outputs) for _ in self._contexts(member, words)]
                )

            return [[read(member)._replace(gate=gate) for gate in gates] for member in members]

        return replies

    def requests(
        self, members: Sequence[Member], items: Sequence[Item]
    ) -> Iterator[tuple[dict[str, Any], Any, str, int]]:
        """What vLLM is asked: prompts, each with its sampling parameters, its member and its item.

        Members are named; items are numbered in their order.
        """
        batch = next(self.batches)
        for member in members:
            for number, item in enumerate(items):
                words = self._words(member, item)
                for context in self._contexts(member, words):
                    prompt = self._prompt(member, words, context, item, f"{batch}-{number}")
                    yield prompt, self._params(member, words, context), member.name, number

    def _run(self, requests: Sequence[tuple[Any, Any, str]]) -> list[Any]:
        """What is written after rendered prompts, each with its settings and its member's name."""
        added: list[str] = []
        try:
            for prompt, params, member in requests:
                # Of a base model there is no adapter.
                lora, name = self.loras.get(member), str(next(self.llm.request_counter))
                added.append(
                    self.llm.llm_engine.add_request(name, prompt, params, lora_request=lora)
                )
        except Exception:
            self.llm.llm_engine.abort_request(added, internal=True)
            raise
        return [one.outputs[0] for one in self.llm.wait_for_completion(use_tqdm=False)]

    def _words(self, member: Member, item: Item) -> Wording:
        """The conversation about an item."""
        if not member.card.texts:
            return self.wordings[member.name]
        return wording(self.processor, member, item.texts)

    def _contexts(self, member: Member, words: Wording) -> list[Tokens]:
        """After what a member is asked to go on; it writes a reply of its own after nothing."""
        return list(words.contexts) if member.card.weighs else [()]

    def _room(self, processor: Any, cards: Sequence[MemberCard]) -> dict[str, Any]:
        """What vLLM is told to plan for: the longest conversation of the members' settings."""
        longest = longest_media(cards[0].media, cards[0].segmentation)
        first, *_ = self.wordings.values()
        media = tokens_of(self.architecture, processor, first, longest) - len(first.ids)
        replies = [
            len(words.prefix) + len(words.branches[0]) + 1 if card.weighs else card.max_new_tokens
            for card, words in zip(cards, self.wordings.values(), strict=True)
        ]
        asked = max(
            len(words.ids) + _READ_TOKENS * len(card.texts)
            for card, words in zip(cards, self.wordings.values(), strict=True)
        )
        return {
            "max_model_len": media + asked + max(replies),
            "limit_mm_per_prompt": self.architecture.vllm_limits(first.kinds, longest.clip()),
        }

    def _prompt(
        self, member: Member, words: Wording, context: Tokens, clip: Item, name: str
    ) -> dict[str, Any]:
        """What vLLM gets of a clip: token ids with one placeholder per medium, and the arrays.

        Args:
            member: who is asked.
            words: what.
            context: what its reply goes on from.
            clip: about what.
            name: of the clip, for no other clip of any batch; its number is behind a dash.
        """
        reply = [*words.prefix, *context] if member.card.weighs else []
        # What was remembered of other batches would round what is computed of this one otherwise.
        salt = {"cache_salt": name.split("-")[0]} if self.shares_prefixes else {}
        prompt = salt | {"prompt_token_ids": [*words.ids, *reply]}
        if not words.kinds:
            return prompt
        return {
            **prompt,
            **self.architecture.vllm_media(words.kinds, clip),
            # Names the clip, so that its arrays are neither hashed nor processed per member.
            "multi_modal_uuids": {
                kind: [f"{kind}-{name}-{place}" for place in range(count)]
                for kind, count in Counter(words.kinds).items()
            },
        }

    def _params(self, member: Member, words: Wording, context: Tokens) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if member.card.weighs:
            length, weighed = 1, words.contexts[context]
        else:
            length = member.card.max_new_tokens
            weighed = sorted({token for tokens in words.contexts.values() for token in tokens})
        # Without options the scores of what is written still tell whether they are numbers.
        asked = {"logprob_token_ids": weighed} if weighed else {"logprobs": 0}
        whole = RequestOutputKind.FINAL_ONLY
        return SamplingParams(temperature=0, max_tokens=length, output_kind=whole, **asked)

    def _read(self, member: Member, words: Wording, outputs: Sequence[Any]) -> Reply:
        """The reply in what was written after each context."""
        steps = [
            [{token: one.logprob for token, one in step.items()} for step in output.logprobs]
            for output in outputs
        ]
        if member.card.weighs:
            after = zip(self._contexts(member, words), steps, strict=True)
            return weighed_reply(words, {context: first[0] for context, first in after})
        (output,), (of_reply,) = outputs, steps
        written = list(output.token_ids)
        broken = any(math.isnan(step[token]) for token, step in zip(written, of_reply, strict=True))
        scores = scores_of_reply(words, written, of_reply)
        return written_reply(output.text, words, scores, broken)


def _lora_rank(rank: int) -> int:
    """The smallest rank that vLLM has kernels for and that holds ``rank``."""
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    sizes: list[int] = [size for size in get_args(MaxLoRARanks) if size >= rank]
    return min(sizes)
