"""Makes the build context of the cases: python3 context.py FOLDER."""

import io
import os
import subprocess
import sys
import tarfile

FOLDER = sys.argv[1]


def path(name):
    return os.path.join(FOLDER, name)


def write(name, text, mode=0o644):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path(name), mode)


def folder(name, mode=0o755):
    os.makedirs(path(name), exist_ok=True)
    os.chmod(path(name), mode)


def archive(name, *members):
    """Members: (name, kind, content or target, attributes)."""
    kinds = {
        "f": tarfile.REGTYPE,
        "d": tarfile.DIRTYPE,
        "l": tarfile.SYMTYPE,
        "h": tarfile.LNKTYPE,
        "c": tarfile.CHRTYPE,
        "b": tarfile.BLKTYPE,
        "p": tarfile.FIFOTYPE,
    }
    with tarfile.open(path(name), "w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            attributes = member[-1] if isinstance(member[-1], dict) else {}
            text = member[2] if len(member) > 2 and isinstance(member[2], str) else member[0]
            info = tarfile.TarInfo(member[0])
            info.type = kinds[member[1]]
            info.mode = 0o750 if member[1] == "d" else 0o644
            info.uid, info.gid, info.mtime = 7, 8, 1000
            info.devmajor, info.devminor = 1, 3
            content = None
            if member[1] == "f":
                content = io.BytesIO(text.encode())
                info.size = len(text.encode())
            elif member[1] in "lh":
                info.linkname = text
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, content)


def files():
    os.umask(0o022)
    write("a.txt", "a\n")
    write("b.txt", "b\n")
    write("dir/x", "x\n", 0o640)
    write("dir/sub/y", "y\n")
    write("dir/.hid/h", "h\n", 0o755)
    os.chmod(path("dir"), 0o750)
    os.symlink("a.txt", path("link"))
    os.symlink("dir", path("ldir"))
    # What lies below: links, a sticky folder, a file.
    folder("lower/tmp", 0o1777)
    folder("lower/real")
    write("lower/file", "")
    os.symlink("tmp", path("lower/ltmp"))
    os.symlink("real", path("lower/sl"))
    os.symlink("/real/gone", path("lower/lgone"))
    # Links without an end, apart: BuildKit fails on them wherever it filters.
    folder("bad")
    os.symlink("nowhere", path("bad/dang"))
    write("bad/x", "x\n")


def archives():
    folder("tar")
    archive(
        "tar/plain.tar",
        ("d", "d"),
        ("d/x", "f"),
        ("d/sub/y", "f", "yy"),
        ("top", "f", {"mode": 0o4755}),
        ("ln", "l", "d/x"),
        ("hl", "h", "d/x"),
    )
    programs = (("gzip -n", "gz"), ("bzip2", "bz2"), ("xz", "xz"), ("zstd -q", "zst"))
    for program, name in programs:
        with open(path(f"tar/odd_{name}.bin"), "wb") as out:
            subprocess.check_call([*program.split(), "-c", path("tar/plain.tar")], stdout=out)
    write("tar/text.tar", "no archive")
    with open(path("tar/text.gz"), "wb") as out:
        subprocess.run(["gzip", "-nc"], input=b"hi\n", stdout=out, check=True)
    write("tar/empty.tar", "")
    write("tar/zeros.tar", "\0" * 10240)
    archive(
        "tar/dotdot.tar",
        ("../../e", "f"),
        ("a/../../../b", "f"),
        ("/abs/x", "f"),
        ("./", "d", {"mode": 0o700}),
        ("./dot", "f"),
    )
    archive("tar/out.tar", ("in", "l", "/etc"), ("in/passwd", "f"))
    archive(
        "tar/through.tar",
        ("etc", "d"),
        ("in", "l", "/etc"),
        ("in/passwd", "f"),
        ("up", "l", "../../.."),
        ("up/z", "f"),
        ("etc/rel", "l", "../etc"),
        ("etc/rel/q", "f"),
    )
    archive("tar/lower.tar", ("sl/new", "f"), ("ltmp/new", "f"))
    archive(
        "tar/lower2.tar",
        ("sl", "d"),
        ("sl/new", "f"),
        ("file", "d"),
        ("file/z", "f"),
        ("real", "f"),
    )
    archive("tar/implied.tar", ("tmp/new", "f"), ("q/w/e", "f"))
    archive("tar/dup.tar", ("a", "f", "1"), ("a", "d"), ("a/b", "f"), ("a", "f", "2"))
    archive(
        "tar/dup2.tar",
        ("a", "d"),
        ("a/b", "f"),
        ("a", "f", "2"),
        ("a", "d"),
        ("a/c", "f"),
    )
    archive("tar/dev.tar", ("c", "c"), ("b", "b"), ("p", "p"))
    archive("tar/hard.tar", ("a", "f"), ("b", "h", "a"), ("c", "h", "./b"), ("x/d", "h", "/a"))
    archive("tar/hardout.tar", ("b", "h", "../../etc/passwd"))
    archive("tar/hardlow.tar", ("b", "h", "file"))
    archive("tar/loop.tar", ("a", "l", "b"), ("b", "l", "a"), ("a/x", "f"))
    archive("tar/dangling.tar", ("a", "l", "nowhere"), ("a/x", "f"))
    archive("tar/nofolder.tar", ("a", "f"), ("a/x", "f"))
    archive("tar/long.tar", ("n" * 150 + "/" + "m" * 200, "f"), ("l", "l", "t" * 300))
    archive("tar/removed.tar", (".wh.file", "f"))
    archive("tar/root.tar", (".", "d", {"mode": 0o777}), ("x", "f"))
    with open(path("tar/plain.tar"), "rb") as whole, open(path("tar/cut.tar"), "wb") as part:
        part.write(whole.read()[:3000])
    os.symlink("plain.tar", path("tar/lnk.tar"))


files()
archives()
