"""How servers spell requests and answers: tables in TOML, and one module for each protocol."""

from filiation.endpoint.dialects.base import Dialect, Request, dialect, likely, names, recognised
from filiation.endpoint.dialects.speaking import build, read

__all__ = ["Dialect", "Request", "build", "dialect", "likely", "names", "read", "recognised"]
