"""The wing of tests on an endpoint: each asks through :class:`filiation.endpoint.model.Asker`."""
