"""Shared by all tests: how Hypothesis runs, and that programs started by a test can be interrupted."""

import os
import signal

from hypothesis import HealthCheck, settings

# No deadline: no test asserts a time. In CI the examples are the same in every run.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# A shell that starts the tests in the background has SIGINT ignored, and every program started from there inherits
# that: Ctrl-C could not be tested. A handler is not inherited, the default action is.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
