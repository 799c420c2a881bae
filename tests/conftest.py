"""Shared by all tests: how Hypothesis runs."""

import os

from hypothesis import HealthCheck, settings

# No deadline: no test asserts a time. In CI the examples are the same in every run.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
