"""How videos are segmented, shown to the model, prepared, and when they are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ah_ray.yaml_objects import Count, Frozen, Positive


class SegmentationConfig(Frozen):
    """How a stretch of video becomes clips; the defaults are the paper's.

    Attributes:
        clip_s: the longest clip, in seconds (Δ in the paper).
        overlap_s: how much of a clip the next one shows again, in seconds.
        tail: what becomes of the piece at the end of a stretch that fills no whole clip. ``drop``
            it when it is shorter than ``min_tail_s``, ``keep`` it, or ``overlap``: move the last
            clip back until it is whole, so that no second goes unseen and every clip is as long.
        min_tail_s: see ``tail``, in seconds.
        min_clip_s: a stretch or tail shorter than this gives no clip, in seconds.
        negatives: training clips of videos without annotated intervals, such as negatives, are cut
            from the ``whole`` video, or ``balanced``: as long as the clips of annotated intervals,
            which else are shorter, so that a model could tell the classes apart by nothing but a
            clip's length.
    """

    clip_s: Positive = 5.0
    overlap_s: Annotated[float, Field(ge=0)] = 0.0
    tail: Literal["drop", "keep", "overlap"] = "drop"
    min_tail_s: Annotated[float, Field(ge=0)] = 3.0
    min_clip_s: Annotated[float, Field(ge=0)] = 0.0
    negatives: Literal["whole", "balanced"] = "whole"

    @model_validator(mode="after")
    def _fits_a_clip(self) -> SegmentationConfig:
        for name in ("min_tail_s", "min_clip_s"):
            if getattr(self, name) > self.clip_s:
                raise ValueError(f"{name} {getattr(self, name)} exceeds clip_s {self.clip_s}")
        if self.overlap_s >= self.clip_s:
            raise ValueError(f"overlap_s {self.overlap_s} is not below clip_s {self.clip_s}")
        return self


class MediaConfig(Frozen):
    """What the model sees of a clip; training and scoring share it.

    Attributes:
        fps: frames per second of clip, in Hz.
        min_frames: at least this many frames (even: the model reads frames in pairs).
        max_frames: at most this many frames (even).
        min_pixels: smaller frames are enlarged to this area, in square pixels.
        max_pixels: larger frames are reduced to this area, in square pixels.
        size_multiple: width and height are multiples of this (patch size x merge size), in pixels.
        square: pictures are exactly this wide and high, in pixels, whatever their shape; null for
            their own shape, within ``min_pixels`` and ``max_pixels``.
        picture: the model gets it as a ``video``, as ``images``, or not at all (``none``), as a
            member does that only listens, or only reads what others wrote.
        images: how many images; ``fps``, ``min_frames`` and ``max_frames`` are of video alone.
        pick: they stand in the middles of equal parts of the clip (``uniform``), or at moments that
            the clip's id draws (``random``), so that they are the same whenever it is read.
        faces: who finds faces, as ``module:function`` (``media.faces``): what is around them is
            dimmed. Null for pictures as they are.
        audio: the model gets the sound as an item of its own after the picture (``separate``), or
            not at all (``none``).
    """

    fps: Positive = 2.0
    min_frames: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    max_frames: Annotated[int, Field(ge=2, multiple_of=2)] = 768
    min_pixels: Count = 128 * 32 * 32
    max_pixels: Count = 768 * 32 * 32
    size_multiple: Count = 32
    square: Count | None = None
    picture: Literal["video", "images", "none"] = "video"
    images: Count = 6
    pick: Literal["uniform", "random"] = "uniform"
    faces: str | None = None
    audio: Literal["separate", "none"] = "separate"

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the model gets of a clip, in the order of the conversation."""
        pictures = {"video": ("video",), "images": ("image",) * self.images, "none": ()}
        return (*pictures[self.picture], *(() if self.audio == "none" else ("audio",)))

    @property
    def areas(self) -> tuple[int, int]:
        """The smallest and the largest area of a picture, in square pixels."""
        if self.square is not None:
            return self.square**2, self.square**2
        return self.min_pixels, self.max_pixels

    @model_serializer(mode="wrap")
    def _in_use(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is not used, so that media from before there was that are the same."""
        values: dict[str, Any] = serialize(self)
        unused = {name for name in ("square", "faces") if getattr(self, name) is None}
        unused |= {"images", "pick"} if self.picture != "images" else set()
        return {key: value for key, value in values.items() if key not in unused}

    @model_validator(mode="after")
    def _ordered(self) -> MediaConfig:
        if self.min_frames > self.max_frames:
            raise ValueError(f"min_frames {self.min_frames} exceeds max_frames {self.max_frames}")
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} exceeds max_pixels {self.max_pixels}")
        if self.square is not None and self.square % self.size_multiple:
            raise ValueError(
                f"square {self.square} is no multiple of size_multiple {self.size_multiple}"
            )
        return self


class PrepareConfig(Frozen):
    """How prepare works.

    Attributes:
        clips: training clips become ``files`` (a video and a WAV each, for people and for trainers
            that read a clip many times), or stay ``virtual``: times in their source, which
            training decodes. Scoring clips are always virtual.
        no_audio: a video without sound is prepared with ``silence``; with ``skip`` it is left out
            on purpose, with ``error`` it is left out as a fault. All three are told.
        cpus_per_video: CPUs that one video takes while it is worked on.
    """

    clips: Literal["files", "virtual"] = "files"
    no_audio: Literal["silence", "skip", "error"] = "silence"
    cpus_per_video: Positive = 1.0


class LimitsConfig(Frozen):
    """What a source may cost before it is refused; archives hold files that nobody has looked at.

    Attributes:
        max_duration_s: longest video, in seconds.
        max_pixels: largest picture (width x height), in square pixels.
        timeout_s: longest time that opening, cutting or decoding one source may take, in seconds.
        max_memory_mb: most memory that cutting one source may take, in MiB.
    """

    max_duration_s: Positive = 6 * 3600.0
    max_pixels: Count = 8192 * 4320
    timeout_s: Positive = 3600.0
    max_memory_mb: Count = 8192
