"""Addresses and messages without the passwords and tokens in them.

Every text that leaves the program (terminal, log, plan, description, warning) and may name a
tracking store goes through here; only MLflow itself sees the whole address.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# Up to the last @: an unescaped one, or a slash, may be in a password. A path has no login.
_LOGIN = re.compile(r"(?<=://)(?!/)\S*@")
# What stands in the addresses of MLflow's own pages, and says nothing of anybody.
_HARMLESS = "workflowType|compareRunsMode|viewStateShareKey|experiments"
_QUERY_VALUE = re.compile(rf"(?<=[?&])(?!(?:{_HARMLESS})=)([\w.\-]+)=[^&#\s'\")]*")


def without_secrets(text: str) -> str:
    """A text with the logins and the query values of all addresses in it replaced by ``***``."""
    return _QUERY_VALUE.sub(r"\1=***", _LOGIN.sub("***@", text))


def public_address(uri: str) -> str:
    """A server's address as anybody may see it: without login and query."""
    return urlsplit(_LOGIN.sub("", uri))._replace(query="", fragment="").geturl()
