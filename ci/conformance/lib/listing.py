"""An image archive as sorted text: one line a config value, one line a file."""
import gzip
import hashlib
import io
import json
import subprocess
import tarfile

CONFIG = ["Env", "Cmd", "Entrypoint", "User", "WorkingDir", "ExposedPorts", "Volumes", "Labels", "Healthcheck", "Shell", "StopSignal", "OnBuild"]
KINDS = {tarfile.REGTYPE: "f", tarfile.AREGTYPE: "f", tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b", tarfile.FIFOTYPE: "p"}


class File:
    """What a path leads to. Hard links share one."""

    def __init__(self, kind, mode=0o755, owner=(0, 0), detail="", xattrs=None):
        self.kind, self.mode, self.owner, self.detail, self.xattrs = kind, mode, owner, detail, xattrs or {}


def shown(name):
    """Bytes as printable text; what is not plain ASCII comes as \\xNN."""
    return "".join(chr(byte) if 0x21 <= byte <= 0x7E and byte != 0x5C else f"\\x{byte:02x}" for byte in name)


def content(data, busybox):
    """Short texts as they are, the rest by size and digest. busybox is a word, so that its version does not count."""
    digest = hashlib.sha256(data).hexdigest()
    if digest == busybox:
        return "busybox"
    if len(data) <= 120 and all(byte in b"\n\t" or 0x20 <= byte <= 0x7E for byte in data):
        return json.dumps(data.decode())
    return f"{len(data)} {digest[:32]}"


def apply(files, layer, busybox):
    """Lays one layer over what is below it. Paths are bytes without a leading slash; the root is b''."""
    lower = set(files)
    for member in layer:
        path = member.name.encode(errors="surrogateescape").strip(b"/")
        path = b"/".join(part for part in path.split(b"/") if part not in (b"", b"."))
        folder, _, name = path.rpartition(b"/")
        if name == b".wh..wh..opq":
            for old in [old for old in lower if old.startswith(folder + b"/")]:
                files.pop(old, None)
        elif name.startswith(b".wh."):
            gone = (folder + b"/" if folder else b"") + name[4:]
            for old in [old for old in lower if old == gone or old.startswith(gone + b"/")]:
                files.pop(old, None)
        else:
            put(files, path, member, layer, busybox)


def put(files, path, member, layer, busybox):
    parents = path.split(b"/")[:-1]
    for end in range(1, len(parents) + 1):
        files.setdefault(b"/".join(parents[:end]), File("d"))
    if member.islnk():
        target = member.linkname.encode(errors="surrogateescape").strip(b"/")
        files[path] = files[target]
        return
    kind = KINDS[member.type]
    if kind != "d" or path in files and files[path].kind != "d":
        for old in [old for old in files if old.startswith(path + b"/")]:
            del files[old]
    detail = ""
    if kind == "f":
        detail = content(layer.extractfile(member).read(), busybox)
    elif kind == "l":
        detail = "-> " + shown(member.linkname.encode(errors="surrogateescape"))
    elif kind in "cb":
        detail = f"{member.devmajor},{member.devminor}"
    prefix = "SCHILY.xattr."
    xattrs = {key[len(prefix):]: value.encode(errors="surrogateescape").hex() for key, value in member.pax_headers.items() if key.startswith(prefix)}
    files[path] = File(kind, member.mode & 0o7777, (member.uid, member.gid), detail, xattrs)


def file_lines(files):
    """Sorted by path. The second name of a file names the first."""
    first = {}
    for path in sorted(files):
        file = files[path]
        if path == b"" and (file.mode, file.owner) == (0o755, (0, 0)):
            continue
        known = first.setdefault(id(file), path)
        detail = file.detail if known == path else "= /" + shown(known)
        xattrs = "".join(f" {key}={file.xattrs[key]}" for key in sorted(file.xattrs))
        yield f"/{shown(path)} {file.kind} {file.mode:04o} {file.owner[0]}:{file.owner[1]} {detail}".rstrip() + xattrs


def config_lines(document):
    for key in ["architecture", "os", "variant", "author"]:
        if document.get(key):
            yield f"{key} {json.dumps(document[key])}"
    config = document.get("config") or {}
    for key in CONFIG:
        value = config.get(key)
        if value:
            yield f"{key} {json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=False)}"


def image_lines(document, layers, busybox):
    files = {}
    for data in layers:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            data = subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as layer:
            apply(files, layer, busybox)
    return [*config_lines(document), *file_lines(files)]


def abbreviate(lines, base):
    """Replaces the files of the base, where all are there as they were, by one line."""
    if not base or not set(base) <= set(lines):
        return lines
    config = [line for line in lines if not line.startswith("/")]
    return [*config, "base", *[line for line in lines if line.startswith("/") and line not in base]]


def of_archive(path, busybox):
    """The lines of an OCI or docker archive. One block a platform."""
    with tarfile.open(path) as archive:
        read = lambda name: archive.extractfile(name).read()  # noqa: E731
        blob = lambda descriptor: read("blobs/sha256/" + descriptor["digest"].split(":")[1])  # noqa: E731
        if "index.json" not in archive.getnames():
            [image] = json.loads(read("manifest.json"))
            return image_lines(json.loads(read(image["Config"])), [read(layer) for layer in image["Layers"] or []], busybox)
        lines, open_ = [], json.loads(read("index.json"))["manifests"]
        while open_:
            document = json.loads(blob(open_.pop(0)))
            if "manifests" in document:
                open_ = document["manifests"] + open_
            else:
                lines += image_lines(json.loads(blob(document["config"])), [blob(layer) for layer in document["layers"] or []], busybox)
        return lines
