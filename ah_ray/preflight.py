"""What a stage asks of the cluster, and whether the cluster can ever grant it.

Ray waits without a word for what it does not have. So each stage states its wish before it starts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from ah_ray.config import RunConfig
from ah_ray.engines.config import ScoreConfig
from ah_ray.errors import ConfigError
from ah_ray.media.config import PrepareConfig
from ah_ray.progress import console
from ah_ray.training.config import TrainConfig

Amounts = Mapping[str, float]  # by resource: CPU, GPU


@dataclass(frozen=True)
class Part:
    """So many of a kind, each of which runs on one node.

    Attributes:
        what: one of them, as people read it.
        keys: the setting behind the amount of each resource.
        amounts: what one takes of a node.
        count: how many there must be at the same time.
        count_key: the setting behind it.
        apart: each needs a node of its own.
    """

    what: str
    keys: Mapping[str, str]
    amounts: Amounts
    count: int = 1
    count_key: str = ""
    apart: bool = False


@dataclass(frozen=True)
class Wish:
    """The least that a stage must have at the same time to get anything done.

    Attributes:
        part: what it is about.
        beside: one of another kind that must run at the same time.
    """

    part: Part
    beside: Part | None = None


def wishes(config: RunConfig) -> tuple[Wish, ...]:
    """Of all stages of a run in which members are still to be trained."""
    return (prepare_wish(config.prepare), train_wish(config.train), score_wish(config.score))


def prepare_wish(settings: PrepareConfig) -> Wish:
    """One video is worked on."""
    keys = {"CPU": "prepare.cpus_per_video"}
    return Wish(Part("a video", keys, {"CPU": settings.cpus_per_video}))


def train_wish(settings: TrainConfig) -> Wish:
    """The nodes of one member's training."""
    keys = {"CPU": "train.cpus_per_node", "GPU": "train.processes_per_node"}
    gpus = settings.processes_per_node if settings.use_gpu else 0
    amounts = _amounts(settings.cpus_per_node, gpus)
    apart = settings.nodes > 1
    return Wish(Part("a training's node", keys, amounts, settings.nodes, "train.nodes", apart))


def score_wish(settings: ScoreConfig) -> Wish:
    """The engines of a pool at its smallest, and one decoder that gives them work."""
    keys = {"CPU": "score.cpus_per_actor", "GPU": "score.gpus_per_actor"}
    amounts = _amounts(settings.cpus_per_actor, settings.gpus_per_actor)
    decoder = Part(
        "a decoder", {"CPU": "score.cpus_per_decoder"}, {"CPU": settings.cpus_per_decoder}
    )
    return Wish(Part("an engine", keys, amounts, settings.min_actors, "score.min_actors"), decoder)


def _amounts(cpus: float, gpus: float) -> Amounts:
    return {"CPU": cpus} | ({"GPU": gpus} if gpus else {})


def require(wish: Wish) -> None:
    """Compare a wish with the cluster that this process is connected to.

    Where an autoscaler starts nodes, what is not there yet may come: that is told, and waited for.

    Raises:
        ConfigError: the cluster can never grant it.
    """
    refusal = verdict(wish, alive_nodes())
    if refusal is None:
        return
    if not any(_NODE_GROUP in node["Labels"] for node in ray.nodes()):
        raise refusal
    console.print(f"  waits until nodes are started: {refusal.problem}", markup=False)


# Nodes that a cluster launcher or KubeRay has started bear the name of their node type.
_NODE_GROUP = "ray.io/node-group"


def verdict(wish: Wish, nodes: Sequence[Amounts]) -> ConfigError | None:
    """What is wrong with a wish on a cluster of these nodes; None if they can grant it.

    Args:
        wish: the least that a stage must have.
        nodes: the resources of each node, taken or free.
    """
    part, beside = wish.part, wish.beside
    possible = _most(part, beside, nodes)
    if possible is not None and possible >= part.count:
        return None
    more = "" if beside is None else f" and {beside.what} ({text(beside.amounts)}) beside"
    where = ", each on a node of its own" if part.apart else ""
    problem = (
        f"asks for {part.count} times {part.what} ({text(part.amounts)}){where}{more}; "
        f"the cluster has {cluster_text(nodes)}"
    )
    if possible:
        fix = f"set {part.count_key} to at most {possible}"
    else:
        fix = "; ".join(_limits(part, beside, nodes))
    return ConfigError(
        ", ".join(key for name, key in part.keys.items() if name in part.amounts),
        problem,
        f"{fix} (--set KEY=VALUE), or give RAY_ADDRESS of a cluster with more",
    )


def at_once(wish: Wish, nodes: Sequence[Amounts]) -> int:
    """How many of what a stage asks for such nodes hold at the same time."""
    return _most(wish.part, wish.beside, nodes) or 0


def _most(part: Part, beside: Part | None, nodes: Sequence[Amounts]) -> int | None:
    """How many of ``part`` the nodes hold, with ``beside`` where it hinders least; or None."""
    if beside is None:
        return sum(_held(part, node) for node in nodes)
    return max(
        (
            _most(part, None, [*nodes[:index], _left(node, beside.amounts), *nodes[index + 1 :]])
            or 0
            for index, node in enumerate(nodes)
            if _holds(node, beside.amounts)
        ),
        default=None,
    )


def nodes_for(amounts: Amounts, nodes: Sequence[Amounts]) -> int:
    """How many of the nodes are large enough for these amounts."""
    return sum(_holds(node, amounts) for node in nodes)


def alive_nodes() -> list[Amounts]:
    """The resources of each node of the cluster, taken or free."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _held(part: Part, node: Amounts) -> int:
    """How many of ``part`` a node holds."""
    times = min(int(node.get(name, 0) / amount + 1e-9) for name, amount in part.amounts.items())
    return min(times, 1) if part.apart else times


def _holds(node: Amounts, amounts: Amounts) -> bool:
    return all(node.get(name, 0) >= amount for name, amount in amounts.items())


def _left(node: Amounts, amounts: Amounts) -> Amounts:
    return {name: there - amounts.get(name, 0) for name, there in node.items()}


def _limits(part: Part, beside: Part | None, nodes: Sequence[Amounts]) -> list[str]:
    """For each setting that asks more of one node than any has: the most that it can be."""
    limits = []
    both = [(part, beside)] if beside is None else [(part, beside), (beside, part)]
    for one, other in both:
        for name, amount in one.amounts.items():
            largest = max((node.get(name, 0) for node in nodes), default=0)
            if amount > largest and largest:
                taken = other.amounts.get(name, 0) if other and len(nodes) == 1 else 0
                most = largest - taken if largest > taken else largest
                limits.append(f"set {one.keys[name]} to at most {most:g}")
            elif amount > largest:
                limits.append(f"no node has a {name}: {one.keys[name]} asks for {amount:g}")
    if not limits and beside is not None:
        keys = ", ".join([*part.keys.values(), *beside.keys.values()])
        limits.append(f"set less for {keys}: together they are more than there is")
    return limits


@contextmanager
def telling_waits(parts: Sequence[tuple[Part, Callable[[], bool]]]) -> Iterator[None]:
    """Print now and then what work waits for that has not begun because others hold it.

    Args:
        parts: what is to begin, and whether it has.
    """
    ended = threading.Event()

    def watch() -> None:
        wait_s = _PATIENCE_S
        while not ended.wait(wait_s) and ray.is_initialized():
            late = [part for part, begun in parts if not begun()]
            if not late:
                return
            for part in late:
                line = waiting_text(part, ray.available_resources(), ray.cluster_resources())
                if line:
                    console.print(f"  {line}", markup=False)
            wait_s = _EVERY_S

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


_PATIENCE_S, _EVERY_S = 10.0, 60.0


def waiting_text(part: Part, free: Amounts, there: Amounts) -> str | None:
    """What work waits for that has not begun; None where enough is free, so that it starts now.

    Args:
        part: the work.
        free: what is free of all nodes together.
        there: what all nodes have together.
    """
    short = [name for name, amount in part.amounts.items() if free.get(name, 0) < amount]
    if not short:
        return None
    rest = " and ".join(f"{free.get(name, 0):g} of {there.get(name, 0):g} {name}" for name in short)
    return f"waits for {text(part.amounts)} for {part.what}; in the cluster {rest} are free"


def text(amounts: Amounts) -> str:
    """Amounts as people read them: ``2 CPU and 1 GPU``."""
    return " and ".join(f"{amount:g} {name}" for name, amount in amounts.items())


def cluster_text(nodes: Sequence[Amounts]) -> str:
    """Nodes as people read them: ``2 nodes with 8 CPU and 0 GPU, 1 node with …``."""
    kinds: dict[str, int] = {}
    for node in nodes:
        kind = text({name: node.get(name, 0) for name in ("CPU", "GPU")})
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(
        f"{count} node{'s' if count > 1 else ''} with {kind}" for kind, count in kinds.items()
    )
