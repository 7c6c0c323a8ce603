"""Tasks: prompts, answer parsing, and the rules from clip answers to a verdict."""

from ah_ray.tasks.task import Prompt, Task, load_task

__all__ = ["Prompt", "Task", "load_task"]
