"""A bundle on disk: one zip file of plain parts and a manifest of their digests, the same bytes for the same content.

Anybody can read it with ``unzip``. Parts are stored, not compressed, so that no library's version changes the bytes and
none can be a bomb; and the file is to the byte what its parts make, so that nothing lies between them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ..errors import BundleInvalid, BundleTooNew, OutputUnwritable

FORMAT = "kernelwright-bundle"
VERSION = 1
MANIFEST = "manifest.json"
_LARGEST = 256 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(parts: Mapping[str, bytes]) -> bytes:
    """The file's bytes."""
    whole = {MANIFEST: _manifest(parts), **dict(sorted(parts.items()))}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in whole.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content)
    return file.getvalue()


def unpack(path: Path) -> dict[str, bytes]:
    """The parts of a bundle, all of them what the manifest says. Raises ``BundleInvalid``, ``BundleTooNew``."""
    try:
        if path.stat().st_size > _LARGEST:
            raise BundleInvalid(f"{path} is larger than {_LARGEST >> 20} MiB; no bundle is.")
        raw = path.read_bytes()
    except OSError as error:
        raise BundleInvalid(f"BUNDLE is {str(path)!r}, which cannot be read: {error.strerror}.") from None
    parts = _members(raw, path)
    manifest = _read_manifest(parts.pop(MANIFEST, None), path)
    listed = manifest["parts"]
    if missing := sorted(listed.keys() - parts.keys()):
        raise BundleInvalid(f"{path} has been tampered with: its part {missing[0]} is missing.")
    if extra := sorted(parts.keys() - listed.keys()):
        raise BundleInvalid(f"{path} has been tampered with: its part {extra[0]} is not in the manifest.")
    for name, content in parts.items():
        if hashlib.sha256(content).hexdigest() != listed[name]:
            raise BundleInvalid(f"{path} has been tampered with: its part {name} is not what the manifest lists.")
    if pack(parts) != raw:
        raise BundleInvalid(f"{path} has been tampered with: it holds bytes that belong to no part.")
    return parts


def digest_of(parts: Mapping[str, bytes]) -> str:
    """What names a bundle: the sha256 over the digests of its parts."""
    return _digest({name: hashlib.sha256(content).hexdigest() for name, content in parts.items()})


def save(path: Path, content: bytes) -> None:
    """Write a whole file or leave the old one as it was."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputUnwritable(f"{path} cannot be written: {error.strerror}.") from error


def _manifest(parts: Mapping[str, bytes]) -> bytes:
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    content = {"format": FORMAT, "version": VERSION, "parts": listed, "digest": _digest(listed)}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _digest(listed: Mapping[str, str]) -> str:
    content = {"format": FORMAT, "version": VERSION, "parts": dict(listed)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _members(raw: bytes, path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            infos = archive.infolist()
            plain = all(i.compress_type == zipfile.ZIP_STORED and not i.flag_bits & 1 for i in infos)
            if not plain or len({i.filename for i in infos}) != len(infos):
                raise BundleInvalid(f"{path} is no bundle: its parts must be stored once and as they are.")
            found = {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError, RuntimeError) as error:
        raise BundleInvalid(f"{path} is no bundle, or a damaged one: {_sentence(error)}.") from None
    return found


def _read_manifest(content: bytes | None, path: Path) -> dict[str, dict[str, str]]:
    if content is None:
        raise BundleInvalid(f"{path} is no bundle: it has no {MANIFEST}.")
    try:
        manifest = json.loads(content)
        form, version, digest = manifest["format"], manifest["version"], manifest["digest"]
        listed = {str(name): str(value) for name, value in manifest["parts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BundleInvalid(f"{path} is no bundle: its {MANIFEST} is not one.") from None
    if form != FORMAT or not isinstance(version, int):
        raise BundleInvalid(f"{path} is no bundle: its format is {form!r} {version!r} instead of {FORMAT!r}.")
    if version > VERSION:
        raise BundleTooNew(f"{path} has version {version} of its format, but this program reads up to {VERSION}.")
    if digest != _digest(listed):
        raise BundleInvalid(f"{path} has been tampered with: its manifest does not match its own digest.")
    return {"parts": listed}


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
