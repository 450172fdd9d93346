"""Writes an image of one layer as a docker-archive, from local files: no registry, no container engine.

usage: image.py OUT.tar TAG [--entrypoint WORD]... [--user ID] [--env NAME=VALUE]... [--workdir PATH]
                [--binary FILE=PATH]... [--file FILE=PATH]... [--tree FOLDER=PATH]... [--link TARGET=PATH]...

A binary brings the shared libraries that it and the loader need; so do the shared objects in a tree. Same files, same bytes:
everything is owned by root, readable by all, sorted, and of one date.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import stat
import subprocess
import sys
import tarfile

EPOCH = "1970-01-01T00:00:00Z"
PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n"
GROUP = "root:x:0:\nnonroot:x:65532:\n"
# Without it, the C library would not ask the DNS.
NSSWITCH = "hosts: files dns\n"
# Libraries from elsewhere are put into /usr/lib, where every loader looks.
SYSTEM = ("/lib/", "/lib64/", "/usr/lib/")


class Layer:
    """The files of an image, by their path in it."""

    def __init__(self):
        self.entries = {}
        self.put_directory("tmp", 0o1777)
        for path, text in (("etc/passwd", PASSWD), ("etc/group", GROUP), ("etc/nsswitch.conf", NSSWITCH)):
            self.put_bytes(path, text.encode(), 0o644)

    def put(self, path, kind, mode, source):
        path = os.path.normpath(path).lstrip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.put_directory(parent, 0o755)
        self.entries[path] = (kind, mode, source)

    def put_directory(self, path, mode):
        self.put(path, tarfile.DIRTYPE, mode, None)

    def put_bytes(self, path, data, mode):
        self.put(path, tarfile.REGTYPE, mode, data)

    def put_link(self, path, target):
        self.put(path, tarfile.SYMTYPE, 0o777, target)

    def put_file(self, path, source):
        mode = os.stat(source).st_mode
        self.put(path, tarfile.REGTYPE, 0o755 if mode & stat.S_IXUSR else 0o644, os.path.realpath(source))

    def put_binary(self, path, source):
        self.put_file(path, source)
        self.put_libraries([source])

    def put_tree(self, path, folder):
        objects = []
        for where, folders, files in os.walk(folder):
            folders.sort()
            inside = os.path.join(path, os.path.relpath(where, folder))
            self.put_directory(inside, 0o755)
            for name in sorted(files):
                source = os.path.join(where, name)
                if os.path.islink(source) and not os.path.isabs(os.readlink(source)):
                    self.put_link(os.path.join(inside, name), os.readlink(source))
                else:
                    self.put_file(os.path.join(inside, name), source)
                if ".so" in name:
                    objects.append(source)
        self.put_libraries(objects, folder)

    def put_libraries(self, objects, within=None):
        """Adds what these need beside themselves, where the loader looks for it. What lies in the tree itself is there already."""
        for source in objects:
            for library in libraries(source):
                if within is None or not os.path.realpath(library).startswith(os.path.realpath(within) + os.sep):
                    path = library if library.startswith(SYSTEM) else os.path.join("/usr/lib", os.path.basename(library))
                    if path.lstrip("/") not in self.entries:
                        self.put_file(path, library)

    def tar(self):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in sorted(self.entries):
                kind, mode, source = self.entries[path]
                info = tarfile.TarInfo(path)
                info.type, info.mode = kind, mode
                if kind == tarfile.SYMTYPE:
                    info.linkname = source
                    archive.addfile(info)
                elif kind == tarfile.DIRTYPE:
                    archive.addfile(info)
                else:
                    data = source if isinstance(source, bytes) else open(source, "rb").read()
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue()


def libraries(source):
    """The shared libraries of an ELF file and its loader, as ldd names them; none for a static one or a script."""
    answer = subprocess.run(["ldd", source], capture_output=True, text=True, check=False)
    found = []
    for line in answer.stdout.splitlines():
        words = line.split()
        if "not found" in line:
            sys.exit(f"image.py: {source} needs {words[0]}, which this machine does not have")
        if "=>" in words:
            words = words[words.index("=>") + 1 :]
        if words and words[0].startswith("/"):
            found.append(words[0])
    return found


def write(out, tag, layer, config):
    """One layer, its configuration and the list of both."""
    data = layer.tar()
    layer_name = hashlib.sha256(data).hexdigest()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    image = {
        "architecture": architecture,
        "os": "linux",
        "created": EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_name}"]},
        "history": [{"created": EPOCH, "created_by": "e2e/images"}],
    }
    described = json.dumps(image, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(described).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [tag], "Layers": [f"{layer_name}/layer.tar"]}]
    parts = {config_name: described, f"{layer_name}/layer.tar": data, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(f"{out}.new", mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, part in parts.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(part), 0o644
            archive.addfile(info, io.BytesIO(part))
    os.replace(f"{out}.new", out)


def pair(text):
    source, _, path = text.partition("=")
    return source, path


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out")
    parser.add_argument("tag")
    for name in ("entrypoint", "env"):
        parser.add_argument(f"--{name}", action="append", default=[])
    for name in ("binary", "file", "tree", "link"):
        parser.add_argument(f"--{name}", action="append", default=[], type=pair)
    parser.add_argument("--user", default="0")
    parser.add_argument("--workdir", default="/")
    given = parser.parse_args()
    layer = Layer()
    for source, path in given.tree:
        layer.put_tree(path, source)
    for source, path in given.file:
        layer.put_file(path, source)
    for source, path in given.binary:
        layer.put_binary(path, source)
    for target, path in given.link:
        layer.put_link(path, target)
    config = {
        "Entrypoint": given.entrypoint,
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", *given.env],
        "User": given.user,
        "WorkingDir": given.workdir,
    }
    write(given.out, given.tag, layer, config)


main()
