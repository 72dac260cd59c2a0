"""GNU dbm files, read and written with libgdbm itself (Debian's package libgdbm6).

    library   libgdbm as ctypes sees it: its functions, its numbers, its errors as exceptions
    file      GdbmFile, one open file

Rules: nothing of libgdbm is seen outside this package, and nothing in a file may end the process or hang it.

Why ctypes, and what it costs: docs/decisions/007-libgdbm-through-ctypes.md.
"""

from moxy.gdbm.file import Access, GdbmFile
from moxy.gdbm.library import Damaged, GdbmError, LibraryMissing, Locked

__all__ = ["Access", "Damaged", "GdbmError", "GdbmFile", "LibraryMissing", "Locked"]
