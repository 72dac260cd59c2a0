"""What Python would load only when it is first needed, loaded now.

After privileges are dropped the interpreter and this checkout may lie where the new user cannot read. Importing these
modules is their whole use here.
"""

# ruff: noqa: F401
from __future__ import annotations

import asyncio.sslproto
import concurrent.futures.thread
import email.utils
import encodings.ascii
import encodings.idna
import encodings.latin_1
import encodings.punycode
import encodings.unicode_escape
import linecache
import stringprep
import tokenize
import traceback
import unicodedata

import idna.uts46data
