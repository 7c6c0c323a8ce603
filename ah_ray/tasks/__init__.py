"""Tasks: prompts, what a reply can say, and the rules from clip answers to a verdict."""

from ah_ray.tasks.conversation import chat_messages, swift_row
from ah_ray.tasks.task import LABEL, SUBTITLE, Prompt, Question, Task, load_task

__all__ = [
    "LABEL",
    "SUBTITLE",
    "Prompt",
    "Question",
    "Task",
    "chat_messages",
    "load_task",
    "swift_row",
]
