"""The transformers engine, on a CPU or a GPU."""

from __future__ import annotations

import functools
import logging
import operator
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from ah_ray import storage
from ah_ray.attention import attention_kernel
from ah_ray.checkpoints import local_checkpoint
from ah_ray.engines.config import ScoreConfig
from ah_ray.engines.engine import Item, Replies, Reply, gate_of, weighed_reply, written_reply
from ah_ray.engines.wording import Tokens, Wording, scores_of_reply, wording
from ah_ray.ensemble import EngineGroup
from ah_ray.members import Member
from ah_ray.models.architecture import find_architecture, require_square, require_type
from ah_ray.models.config import ModelConfig

_log = logging.getLogger(__name__)

# What a processor gives for every token; everything else in its output belongs to the media.
_PER_TOKEN = ("input_ids", "attention_mask", "mm_token_type_ids")


class TransformersEngine:
    """One checkpoint in memory, with the adapters of its members."""

    def __init__(self, group: EngineGroup, settings: ScoreConfig) -> None:
        """Load the checkpoint and adapters.

        Args:
            group: the checkpoint and its members.
            settings: ``gpus_per_actor`` decides the device, ``cpus_per_actor`` the threads.
        """
        self.device = "cuda" if settings.gpus_per_actor else "cpu"
        if self.device == "cpu":
            torch.set_num_threads(max(1, round(settings.cpus_per_actor)))
        path = str(local_checkpoint(group.checkpoint))
        card = group.members[0].card
        self.architecture = find_architecture(card.model.architecture)
        require_square(path, card.model.architecture, card.media)
        self.processor = self.architecture.load_processor(path)
        self.model = load_model(path, card.model, self.device == "cuda").to(self.device).eval()
        # Adapters are put into the model's own layers, so the core below answers with them.
        self.adapters: Any = None
        self.core = self.architecture.core(self.model)
        for member in group.members:
            if member.card.weights == "adapter":
                self._add_adapter(member)
        self.wordings = {member.name: wording(self.processor, member) for member in group.members}
        if not self._towers_are_tuned():
            _run_towers_once(self.core.base_model, self.architecture.kinds)

    def answer(self, members: Sequence[Member], items: Sequence[Item]) -> Replies:
        """Greedy replies; see ``Engine``."""
        return self.begin(members, items)()

    def begin(self, members: Sequence[Member], items: Sequence[Item]) -> Callable[[], Replies]:
        """Make pixels, spectrograms and tokens; see ``OverlappingEngine``."""
        if not items or not members:
            return lambda: [[] for _ in members]
        # Pixels and spectrograms are made and moved once, tokens once for those who ask alike.
        first = self.wordings[members[0].name]
        encoded = self.architecture.encode(self.processor, first.text, first.kinds, items)
        words = {member.name: self._words(member, items) for member in members}
        asking: defaultdict[Any, list[Member]] = defaultdict(list)
        for member in members:
            one, *_ = theirs = words[member.name]
            begun = (*one.prefix, *one.branches[0]) if member.card.weighs else ()
            asking[tuple(of_item.text for of_item in theirs), begun].append(member)

        def replies() -> Replies:
            inputs = to_model(encoded, self.model, self.architecture.times)
            found: dict[str, list[Reply]] = {}
            for (_, begun), alike in asking.items():
                asked = reword(self.processor, inputs, first, words[alike[0].name], begun)
                found |= {member.name: self._answer(member, asked) for member in alike}
            gates = _per_item(self.architecture.gates(self.core), len(items))
            return [
                [one._replace(gate=gate) for one, gate in zip(found[name], gates, strict=True)]
                for name in (member.name for member in members)
            ]

        return replies

    def _words(self, member: Member, items: Sequence[Item]) -> list[Wording]:
        """The conversation about each item: the same one, unless there are texts in it."""
        if not member.card.texts:
            return [self.wordings[member.name]] * len(items)
        return [wording(self.processor, member, item.texts) for item in items]

    def _answer(self, member: Member, inputs: dict[str, Any]) -> list[Reply]:
        words = self.wordings[member.name]
        shown: list[list[dict[int, float]]] = []
        finite: list[Any] = []

        def keep(head: Any, args: Any, logits: Any) -> None:
            # Not the vocabulary's scores themselves: those of a long text do not fit into memory.
            shown.append(_log_chances(words, logits[:, -1]))
            finite.append(_finite(logits[:, -1]))

        with torch.inference_mode(), self._tuned_as(member):
            if member.card.weighs:
                return [weighed_reply(words, scores) for scores in self._scores(words, inputs)]
            with self.core.get_output_embeddings().register_forward_hook(keep):
                sequences = self.core.generate(
                    **inputs, max_new_tokens=member.card.max_new_tokens, do_sample=False
                )
        written = sequences[:, inputs["input_ids"].shape[1] :]
        texts = self.processor.batch_decode(written, skip_special_tokens=True)
        steps = list(zip(*shown, strict=True))
        broken = (~torch.stack(finite).all(dim=0)).tolist()
        replies = []
        for row, text in enumerate(texts):
            scores = scores_of_reply(words, written[row].tolist(), steps[row])
            replies.append(written_reply(text, words, scores, broken[row]))
        return replies

    def _tuned_as(self, member: Member) -> AbstractContextManager[Any]:
        """Lets the member's adapter answer, or the base model without any."""
        if self.adapters is None:
            return nullcontext()
        if member.card.weights == "base":
            alone: AbstractContextManager[Any] = self.adapters.disable_adapter()
            return alone
        self.adapters.set_adapter(member.name)
        return nullcontext()

    def _scores(self, words: Wording, inputs: dict[str, Any]) -> list[dict[Tokens, Any]]:
        """The scores of a batch in all contexts; ``inputs`` end with the longest branch.

        The model reads the prompt once. Replies that part in one token, or of which only one takes
        several, need nothing else; further branches are read on top of what it remembers.
        """
        first, *others = words.branches
        mask = inputs["attention_mask"]
        self.core.scored_positions = len(first) + 1
        output = self.core(**inputs, **self._counted(mask), use_cache=bool(others))
        memory = output.past_key_values
        scores: list[dict[Tokens, Any]] = [{} for _ in mask]

        def collect(branch: Tokens, begun: int) -> None:
            for place, length in enumerate(range(begun, len(branch) + 1)):
                found = _log_chances(words, output.logits[:, place])
                for of_clip, one in zip(scores, found, strict=True):
                    of_clip[branch[:length]] = one

        collect(first, 0)
        shared = mask.shape[1] - len(first)
        for branch in others:
            memory.crop(shared - memory.get_seq_length())
            self.core.scored_positions = len(branch)
            whole = torch.cat([mask[:, :shared], mask.new_ones(len(mask), len(branch))], dim=1)
            output = self.core(
                input_ids=torch.tensor([branch] * len(mask), device=mask.device),
                attention_mask=whole,
                position_ids=self._positions(whole)[..., -len(branch) :],
                past_key_values=memory,
                use_cache=True,
            )
            collect(branch, 1)
        self.core.scored_positions = 1
        return scores

    def _counted(self, mask: Any) -> dict[str, Any]:
        """The positions in a prompt, where a model would count the padding before it too."""
        if hasattr(self.core.base_model, "get_rope_index"):
            return {}
        return {"position_ids": (mask.cumsum(dim=-1) - 1).clamp(min=0)}

    def _positions(self, mask: Any) -> Any:
        """The positions of text after a prompt that was just read; ``mask`` has both."""
        positions = mask.cumsum(dim=-1) - 1
        deltas = getattr(self.core.base_model, "rope_deltas", None)
        if deltas is None:  # media take as many positions as tokens
            return positions
        return (positions + deltas.to(positions.device)).expand(3, -1, -1)

    def _add_adapter(self, member: Member) -> None:
        from peft import PeftModel

        folder = str(storage.localize(member.uri))
        if self.adapters is None:
            self.adapters = PeftModel.from_pretrained(self.model, folder, member.name).eval()
        else:
            self.adapters.load_adapter(folder, member.name)

    def _towers_are_tuned(self) -> bool:
        """Whether an adapter changes more than the language model."""
        if self.adapters is None:
            return False
        from peft.tuners.tuners_utils import BaseTunerLayer

        language = set(self.core.get_decoder().modules())
        tuned = {module for module in self.model.modules() if isinstance(module, BaseTunerLayer)}
        return not tuned <= language


def load_model(path: str, settings: ModelConfig, use_gpu: bool = False) -> Any:
    """The model of a checkpoint.

    Args:
        path: a local checkpoint folder.
        settings: its architecture, number format and attention kernel are used; where the kernel
            cannot run, that is logged and another one taken.
        use_gpu: whether it will run on one.

    Raises:
        ConfigError: its weights are of another architecture.
    """
    require_type(path, settings.architecture)
    architecture = find_architecture(settings.architecture)
    kernel, note = attention_kernel(settings.attention, use_gpu)
    if note:
        _log.warning("%s: %s", path, note)
    model = architecture.load_model(path, settings.dtype, kernel)
    core = architecture.core(model)
    # Only what follows the last few tokens is ever asked for; the vocabulary's scores of a whole
    # batch of prompts would be larger than the model.
    core.scored_positions = 1
    core.get_output_embeddings().register_forward_pre_hook(
        lambda _, args: (args[0][:, -core.scored_positions :],)
    )
    # Positions are found once for all members that ask the same.
    base = core.base_model
    if hasattr(base, "get_rope_index"):
        base.get_rope_index = _once_per_input(base.get_rope_index, torch.equal)
    return model


def to_model(inputs: Any, model: Any, times: Sequence[str]) -> Any:
    """``inputs`` on the model's device and in its number format, ``times`` excepted.

    A time in bfloat16 is off by up to 0.4 %, which is another position in a long clip.
    """
    exact = {name: inputs[name].to(model.device) for name in times if name in inputs}
    inputs = inputs.to(model.device, model.dtype)
    inputs.update(exact)
    return inputs


def reword(
    processor: Any, inputs: Any, ours: Wording, theirs: Sequence[Wording], reply: Sequence[int]
) -> dict[str, Any]:
    """The inputs for the same clips with another prompt and the beginning of a reply.

    Args:
        processor: that ``inputs`` were made with.
        inputs: what ``Architecture.encode`` made of ``ours``.
        ours: the conversation in ``inputs``.
        theirs: the conversation about each clip to put in its place.
        reply: tokens that the reply begins with.
    """
    head, tail = _around_media(processor, ours)
    per_token: dict[str, list[list[int]]] = {}
    real = inputs["attention_mask"].bool()

    def reworded(name: str, row: Any, mask: Any, words: Wording) -> list[int]:
        new_head, new_tail = _around_media(processor, words)
        before: Sequence[int] = words.ids[:new_head]
        after: Sequence[int] = [*words.ids[len(words.ids) - new_tail :], *reply]
        if name != "input_ids":
            fill = int(name == "attention_mask")
            before, after = [fill] * len(before), [fill] * len(after)
        return [*before, *row[mask].tolist()[head : int(mask.sum()) - tail], *after]

    for name in _PER_TOKEN:
        if name in inputs:
            rows = zip(inputs[name], real, theirs, strict=True)
            per_token[name] = [reworded(name, *row) for row in rows]
    device = inputs["input_ids"].device
    longest = max(map(len, per_token["input_ids"]))
    padding = {"input_ids": processor.tokenizer.pad_token_id}
    return {name: value for name, value in inputs.items() if name not in per_token} | {
        name: torch.tensor(
            [[padding.get(name, 0)] * (longest - len(row)) + row for row in rows], device=device
        )
        for name, rows in per_token.items()
    }


def _around_media(processor: Any, words: Wording) -> tuple[int, int]:
    """How many tokens of a prompt stand before its first and after its last medium."""
    if not words.kinds:
        return len(words.ids), 0
    names = [getattr(processor, f"{kind}_token") for kind in words.kinds]
    media = set(processor.tokenizer.convert_tokens_to_ids(names))
    places = [index for index, token in enumerate(words.ids) if token in media]
    return places[0], len(words.ids) - 1 - places[-1]


def _log_chances(words: Wording, logits: Any) -> list[dict[int, float]]:
    """For each row of logits the log-probabilities of the tokens that replies consist of."""
    tokens = sorted({token for option in words.options for token in option})
    logits = logits.double()
    found = logits[:, tokens] - logits.logsumexp(dim=-1, keepdim=True)
    return [dict(zip(tokens, row, strict=True)) for row in found.tolist()]


def _per_item(
    gates: Sequence[Mapping[str, float]] | None, items: int
) -> Sequence[Mapping[str, float] | None]:
    """One gate for each item, all of which have as many media."""
    if gates is None:
        return [None] * items
    each = len(gates) // items
    return [gate_of(gates[each * n : each * (n + 1)]) for n in range(items)]


def _finite(logits: Any) -> Any:
    """In which rows the model's scores are numbers; -inf only says that a token cannot be."""
    return logits.float().logsumexp(dim=-1).isfinite()


def _run_towers_once(model: Any, kinds: Sequence[str]) -> None:
    """Let the members that ask about the same clips share what the towers see and hear."""
    for name in (f"get_{kind}_features" for kind in kinds):
        if hasattr(model, name):
            setattr(model, name, _once_per_input(getattr(model, name)))


def _once_per_input(
    method: Callable[..., Any], same: Callable[[Any, Any], bool] = operator.is_
) -> Callable[..., Any]:
    """``method``, run again only when it is given other tensors than the last time."""
    last: tuple[list[Any], Any] = [], None

    @functools.wraps(method)
    def remembered(*args: Any, **kwargs: Any) -> Any:
        nonlocal last
        tensors = [value for value in (*args, *kwargs.values()) if torch.is_tensor(value)]
        if len(tensors) != len(last[0]) or not all(map(same, tensors, last[0])):
            last = tensors, method(*args, **kwargs)
        return last[1]

    return remembered
