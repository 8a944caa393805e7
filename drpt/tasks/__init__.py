"""Tasks: what a run trains for. Each has its rules of configuration, its assembly and its metrics; see `drpt.tasks.task`."""
