"""Ways to damage a file: its bytes, or the structure inside its wrapping.

Each takes the file's content, that of another file of its kind, and a `random.Random`.
"""

import gzip
import io
import json
import random
import struct
import tarfile
import zipfile
import zlib

EXTREMES = [
    struct.pack(order + kind, value)
    for kind, values in {
        "i": (0, 1, -1, 2**31 - 1, -(2**31)),
        "q": (0, 1, -1, 2**63 - 1, -(2**63), 2**40),
        "d": (float("nan"), float("inf"), -1.0, 1e300),
    }.items()
    for order in "<>"
    for value in values
]
WORDS = [b"9", b"-", b"\n", b",", b"nan", b"inf", b"e9", b'"', b"None", b"\x00", b"\xff\xfe"]


def in_bytes(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """One to eight faults, half of them near the beginning, where headers are, or the end."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 8))):
        size = len(changed)
        near = min(size, dice.choice((16, 128, 1000)))
        at = dice.choice(
            (dice.randint(0, size), dice.randint(0, near), size - dice.randint(0, near))
        )
        length = dice.choice((1, 4, dice.randint(0, 40), dice.randint(0, max(size - at, 0))))
        fault = dice.randrange(9)
        if fault == 0 and at < size:
            changed[at] ^= 1 << dice.randrange(8)
        elif fault == 1:
            changed[at : at + 1] = dice.randbytes(1)
        elif fault == 2:
            extreme = dice.choice(EXTREMES)
            changed[at : at + len(extreme)] = extreme
        elif fault == 3:
            changed[at:at] = dice.randbytes(min(length, 1000))
        elif fault == 4:
            del changed[at : at + length]
        elif fault == 5:
            changed[at:at] = changed[at : at + length][:100_000]
        elif fault == 6:
            del changed[at:]
        elif fault == 7:
            start = dice.randint(0, len(other))
            changed[at : at + length] = other[start : start + length]
        else:
            changed[at : at + dice.randint(0, 3)] = dice.choice(WORDS)
    return bytes(changed)


def npz(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """A well-formed archive whose members are damaged, renamed, repeated or left out."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    i = dice.randrange(len(members))
    name, member = members[i]
    fault = dice.randrange(4)
    if fault == 0:
        member = in_bytes(member, other, dice)
    elif fault == 1:  # a header that lies; NumPy pads them to a multiple of 64
        old, values = member[10:128], member[128:]
        shape = [
            dice.choice((0, 1, -1, 60, 28, 400, 784, 2**31, 2**62))
            for _ in range(dice.randrange(5))
        ]
        descr = dice.choice(
            ("|u1", "<f8", ">f8", "<f2", "|O", "|b1", "<c16", "<U9", "|V8", "<M8[s]", "<i8")
        )
        header = {"descr": descr, "fortran_order": dice.random() < 0.5, "shape": tuple(shape)}
        text = dice.choice((repr(header).encode(), in_bytes(old, other, dice)))
        member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values
    elif fault == 2:
        name = dice.choice(
            (name, "../" + name, "/tmp/" + name, "x", "X.npy", "y.npy", "\udc80.npy")
        )
        name = name.encode("utf-8", "replace").decode()
    members[i] = (name, member)
    if fault == 3:
        members = [dice.choice(members) for _ in range(dice.randrange(4))]
    packed = io.BytesIO()
    kind = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(packed, "w", kind, compresslevel=1) as archive:
        for name, member in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = kind
            archive.writestr(info, member)
    return packed.getvalue()


def mat(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """Damage within the elements of a .mat file, whose own tags and checksums stay right."""
    changed, at = bytearray(content[:128]), 128
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<II", content, at)
        body = content[at + 8 : at + 8 + size]
        if dice.random() < 0.6:
            plain = zlib.decompress(body) if kind == 15 else body
            head = in_bytes(plain[:200], other[128:], dice)
            plain = dice.choice((in_bytes(plain, other, dice), head + plain[200:]))
            body = zlib.compress(plain, 1) if kind == 15 else plain
        changed += struct.pack("<II", kind, len(body)) + body
        at += 8 + size
    return bytes(changed)


def csv(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """Odd cells, rows and columns in a table."""
    odd = ("", " ", "nan", "-inf", "1e400", "-1", "256", "0.5", "10", "x", '"', '"a\nb"', "1,2",
           "١", "0x1F", "1_0", "\x00", "9" * 500, "é")  # fmt: skip
    rows = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(dice.choice((1, 1, 3))):
        row, column = dice.randrange(len(rows)), dice.randrange(1000)
        fault = dice.randrange(6)
        if fault <= 2:
            rows[row][column % len(rows[row])] = dice.choice(odd)
        elif fault == 3:
            rows[row] = dice.choice((rows[row][:-1], rows[row] * 2, [""], [dice.choice(odd)]))
        elif fault == 4:
            value = dice.choice(odd)
            rows = [[*cells[: column % 401], value, *cells[column % 401 + 1 :]] for cells in rows]
        else:
            rows = rows[: row + 1]
    ending = dice.choice(("\n", "\r\n", "\r"))
    return ending.join(dice.choice((",", ",", ";")).join(cells) for cells in rows).encode()


def packed(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """A sound gzip file around damaged content."""
    return gzip.compress(in_bytes(gzip.decompress(content), gzip.decompress(other), dice), 1)


def tarball(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """A sound .tgz in which names, kinds and content of members are changed."""
    changed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as old,
        tarfile.open(fileobj=changed, mode="w:gz", compresslevel=1) as new,
    ):
        for member in old:
            body = old.extractfile(member).read()
            if dice.random() < 0.4:
                body = in_bytes(body, other, dice)
                kinds = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, b"S")
                member.type = dice.choice(kinds)
                member.linkname = dice.choice(("/etc/passwd", member.name, ".."))
                member.name = dice.choice(("../", "/", "", "")) + member.name
            member.size = len(body)
            new.addfile(member, io.BytesIO(body))
    return changed.getvalue()


def json_values(content: bytes, other: bytes, dice: random.Random) -> bytes:
    """Values swapped, lost, or replaced by others, also by such as JSON hardly has."""
    odd = (None, True, -1, 0, 1.5, 1e308, 10**400, float("nan"), float("inf"), "", "x", "\ud800",
           "\x1b[2J", "a" * 5000, "../..", [], [None], [[]], {}, {"": None}, {"x": 1})  # fmt: skip
    record = json.loads(content)
    for _ in range(dice.choice((1, 1, 1, 4))):
        places = list(_places(record))
        if not places:
            break
        # The outermost first: there are few of them, and most is decided there.
        depth = dice.choice((1, 2, 3, 9))
        holder, key = dice.choice(
            [p[:2] for p in places if p[2] <= depth] or [p[:2] for p in places]
        )
        fault = dice.randrange(4)
        if fault == 0:
            del holder[key]
        elif fault == 1:
            there, where, _ = dice.choice(places)
            holder[key] = json.loads(json.dumps(there[where]))
        elif fault == 2 and isinstance(holder, dict):
            holder[dice.choice(("", "x", "../x", "\ud800", "ex7", key + "0"))] = holder.pop(key)
        else:
            holder[key] = dice.choice(odd)
    if dice.random() < 0.01:
        return b"[" * 100_000
    return json.dumps(record).encode()


def _places(value, depth: int = 1):
    """(holder, key, depth) of every value within a list or dict."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key, depth
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key], depth + 1)
