"""A client for a model behind an API: capability, budget, log, replay. No tests here."""
