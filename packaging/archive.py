#!/usr/bin/env python3
"""Packs the binary and the licence; the same files give the same bytes. usage: archive.py BINARY OUT.tar.gz"""
import gzip
import pathlib
import sys
import tarfile

binary, out = map(pathlib.Path, sys.argv[1:])
root = pathlib.Path(__file__).resolve().parent.parent
with out.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, name, mode in ((root / "LICENSE", "LICENSE", 0o644), (binary, "tracesteward", 0o755)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, mode
            with path.open("rb") as content:
                archive.addfile(entry, content)
