"""The cube archive ``.memcube``: written by the dumper, read by the loader, trusted by neither."""

from memos_integrations.infrastructure.archive.contents import ArchiveLimits, Entry, Manifest
from memos_integrations.infrastructure.archive.reader import ArchiveReader
from memos_integrations.infrastructure.archive.writer import ArchiveWriter

__all__ = ["ArchiveLimits", "ArchiveReader", "ArchiveWriter", "Entry", "Manifest"]
