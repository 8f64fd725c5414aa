"""Executors, one a file: how jobs are run. `ray_tune` is the way; `serial` is for tests and debugging."""
