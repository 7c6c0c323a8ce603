"""Tasks: prompts, answer parsing, and the rules from clip answers to a verdict."""

from ah_ray.tasks.conversation import chat_messages, swift_row
from ah_ray.tasks.task import Prompt, Task, load_task

__all__ = ["Prompt", "Task", "chat_messages", "load_task", "swift_row"]
