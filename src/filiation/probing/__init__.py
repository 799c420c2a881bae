"""Room probing: the walk over an endpoint and the tests on it.

(The walk is not called ``probe``, because ``filiation.probe`` is the function: decisions/0011.)
"""
