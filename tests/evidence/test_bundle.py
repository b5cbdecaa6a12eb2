"""A bundle holds what it must, comes back as it was, and is refused when anything of it was changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kernelwright.archive import Archive
from kernelwright.errors import BundleInvalid, BundleTooNew, ExportImpossible, OutputUnwritable
from kernelwright.evidence import Bundle, from_archive, gather, read_bundle
from kernelwright.evidence._container import MANIFEST, pack
from kernelwright.judge import Measurement, Verdict
from kernelwright.machine import describe, fingerprint, versions
from kernelwright.search import Outcome
from kernelwright.search._kernel import Kernel
from kernelwright.search._memory import Memory
from kernelwright.targets import Candidate
from kernelwright.task import Task, from_callable, load

from .conftest import EAGER, printed

Judged = tuple[Task, Candidate, Verdict, Measurement]


def test_it_comes_back_as_it_was(bundle: Bundle, file: Path) -> None:
    back = read_bundle(file)
    assert back == bundle
    assert back.digest == bundle.digest
    assert back.candidate.digest == bundle.candidate.digest
    assert back.task.digest == bundle.task.digest


def test_equal_evidence_is_equal_bytes(bundle: Bundle, file: Path, tmp_path: Path) -> None:
    read_bundle(file).write(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == file.read_bytes()


def test_a_person_can_read_it(bundle: Bundle, file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert texts["task.py"] == bundle.task.text
    assert texts["source.cpp"] == bundle.candidate.source
    assert "include/kw/abi.h" in texts
    assert str(Path.home()) not in "".join(texts.values())  # nothing tells where it lay
    domain = json.loads(texts["domain.json"])
    assert [tuple(i["shape"]) for i in domain["inputs"] if i["source"] == ["arg", 0]] == [(12, 16)]
    assert domain["constants"] == [[1, 0.5]]
    assert {"given", "normal"} <= set(domain["laws"])
    assert "-O3" in json.loads(texts["build.json"])["flags"]
    assert json.loads(texts["machine.json"])["fingerprint"] == fingerprint(describe())
    assert json.loads(texts["versions.json"])["torch"] == torch.__version__
    assert "proved" in json.loads(texts["proof.json"])["indices"]


def test_every_check_can_be_made_again(bundle: Bundle) -> None:
    checks = bundle.verdict.checks
    assert len(checks) > 5
    assert all(check.law and check.seed > 0 and check.error <= 1 for check in checks)
    assert any(check.state for check in checks)  # it has parameters, so other ones were tried


def _rewrite(file: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """The zip file with other parts, its manifest left as it is unless ``change`` does it."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def _changed(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        assert old in parts[name]
        parts[name] = parts[name].replace(old, new, 1)

    return change


def _list_in_manifest(content: dict[str, bytes], **changes: Any) -> None:
    manifest = {**json.loads(content[MANIFEST]), **changes}
    content[MANIFEST] = json.dumps(manifest).encode()


def _relist(parts: dict[str, bytes]) -> None:
    """Another digest for a part, but not the one over all."""
    parts["source.cpp"] += b"\n"
    listed = json.loads(parts[MANIFEST])["parts"]
    _list_in_manifest(parts, parts={**listed, "source.cpp": hashlib.sha256(parts["source.cpp"]).hexdigest()})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_changed("source.cpp", b"kw::", b"kv::"), "part source.cpp is not what the manifest lists"),
        (_changed("task.py", b"softmax", b"sigmoid"), "part task.py is not"),
        (_changed("verdict.json", b'"seed": ', b'"seed": 1'), "part verdict.json is not"),
        (_changed("measurement.json", b'"median": ', b'"median": 9'), "part measurement.json is not"),
        (_changed("include/kw/abi.h", b"return 0", b"return 1"), "part include/kw/abi.h is not"),
        (lambda parts: parts.pop("machine.json"), "part machine.json is missing"),
        (lambda parts: parts.update({"extra.txt": b"hello"}), "part extra.txt is not in the manifest"),
        (lambda parts: parts.pop(MANIFEST), "has no manifest.json"),
        (lambda parts: parts.update({MANIFEST: b"[]"}), "its manifest.json is not one"),
        (lambda parts: _list_in_manifest(parts, digest="0" * 64), "manifest does not match its own digest"),
        (lambda parts: _list_in_manifest(parts, format="other"), "its format is 'other'"),
        (_relist, "manifest does not match its own digest"),
    ],
)
def test_what_was_tampered_with_is_refused(file: Path, change: Any, sentence: str) -> None:
    _rewrite(file, change)
    with pytest.raises(BundleInvalid, match=sentence):
        read_bundle(file)


def _repacked(file: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """A forger who knows the format: every digest is right again."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}
    change(parts)
    file.write_bytes(pack(parts))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_changed("source.cpp", b"kw::", b"kv::"), "not those of candidate.json"),
        (_changed("task.py", b"softmax", b"sigmoid"), "not that of task.json"),
        (_changed("verdict.json", b'"accepted"', b'"rejected"'), "no accepted kernel"),
        (_changed("domain.json", b"normal", b"strange"), "domain.json is not what"),
        (_changed("candidate.json", b'"cpu"', b'"python"'), "is no accepted kernel|not those of candidate.json"),
        (_changed("plan.json", b'"steps"', b'"stops"'), "makes no sense"),
        (lambda parts: parts.pop("build.json"), "makes no sense"),
        (lambda parts: parts.update({"source.cpp": b"\xff\xfe"}), "makes no sense"),
    ],
)
def test_what_contradicts_itself_is_refused(file: Path, change: Any, sentence: str) -> None:
    _repacked(file, change)
    with pytest.raises(BundleInvalid, match=sentence):
        read_bundle(file)


def test_checks_outside_the_domain_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    check = replace(bundle.verdict.checks[0], sizes=((0, 1 << 40),))
    replace(bundle, verdict=replace(bundle.verdict, checks=(check,))).write(tmp_path / "b.zip")
    with pytest.raises(BundleInvalid, match="outside its domain"):
        read_bundle(tmp_path / "b.zip")


def test_no_byte_can_hide(file: Path) -> None:
    whole = file.read_bytes()
    for content in (whole + b"x", b"x" + whole):
        file.write_bytes(content)
        with pytest.raises(BundleInvalid, match=r"belong to no part|is no bundle"):
            read_bundle(file)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_a_truncated_file_is_refused(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BundleInvalid, match="is no bundle, or a damaged one"):
        read_bundle(file)


def test_flipped_bytes_are_refused(file: Path) -> None:
    whole = file.read_bytes()
    for place in range(40, len(whole), len(whole) // 40):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BundleInvalid):
            read_bundle(file)


def test_compressed_parts_are_refused(file: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    with pytest.raises(BundleInvalid, match="stored once and as they are"):
        read_bundle(tmp_path / "c.zip")


def test_a_newer_format_is_said_to_be_one(file: Path) -> None:
    _rewrite(file, lambda parts: _list_in_manifest(parts, version=2))
    with pytest.raises(BundleTooNew, match="version 2 of its format"):
        read_bundle(file)


def test_what_is_no_file_or_no_zip(tmp_path: Path, file: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BundleInvalid, match="is no bundle"):
        read_bundle(tmp_path / "text")
    for missing in (tmp_path / "missing", tmp_path):
        with pytest.raises(BundleInvalid, match="cannot be read"):
            read_bundle(missing)
    with pytest.raises(OutputUnwritable):
        read_bundle(file).write(tmp_path / "no" / "folder.zip")


# ── where bundles come from ──


def test_only_accepted_kernels_have_one(judged: Judged) -> None:
    task, candidate, verdict, measurement = judged
    with pytest.raises(ExportImpossible, match="the user's own code"):
        gather(task, EAGER, verdict, measurement, {})
    with pytest.raises(ExportImpossible, match="for the target 'triton'"):
        gather(task, replace(candidate, target="triton"), verdict, measurement, {})
    with pytest.raises(ExportImpossible, match="not accepted"):
        gather(task, candidate, replace(verdict, status="rejected"), measurement, {})
    with pytest.raises(ExportImpossible, match="keeps no copy"):
        gather(replace(task, text=""), candidate, verdict, measurement, {})


def _outcome(judged: Judged) -> Outcome:
    task, candidate, verdict, measurement = judged
    return Outcome(task, "won", candidate, verdict, measurement, (), 1.0, "", False, None)


def test_from_the_archive_by_the_task_and_by_the_candidate(judged: Judged, bundle: Bundle, tmp_path: Path) -> None:
    task, candidate, _, _ = judged
    with Archive(tmp_path / "a.sqlite") as archive:
        Memory(archive, task, "cpu").crown(_outcome(judged), 0, 1.0)
        assert from_archive(archive, task.digest) == bundle
        assert from_archive(archive, candidate.digest) == bundle
        with pytest.raises(ExportImpossible, match="no task and no candidate"):
            from_archive(archive, "0" * 64)


def test_what_another_machine_judged_is_not_told_here(judged: Judged, tmp_path: Path) -> None:
    task, candidate, _, _ = judged
    with Archive(tmp_path / "a.sqlite") as archive:
        archive.record_task(task)
        archive.record_candidate(task.digest, candidate)
        archive.record_verdict(task.digest, candidate.digest, "elsewhere", {"status": "accepted", "checks": []})
        with pytest.raises(ExportImpossible, match="not judged on this machine"):
            from_archive(archive, candidate.digest)
        with pytest.raises(ExportImpossible, match="no winner"):
            from_archive(archive, task.digest)


def test_from_a_kernel_in_python(judged: Judged, bundle: Bundle, tmp_path: Path) -> None:
    reference = load(judged[0])
    kernel = Kernel(_outcome(judged), reference.call, reference.state)
    assert read_bundle(kernel.bundle(tmp_path / "k.zip")) == bundle
    archived = replace(_outcome(judged), from_archive=True, versions={"torch": "2.0"})
    old = read_bundle(Kernel(archived, reference.call, reference.state).bundle(tmp_path / "old.zip"))
    assert old.versions == {"torch": "2.0"}


def test_of_a_callable_its_pickle_travels(judged: Judged, tmp_path: Path) -> None:
    task = from_callable(torch.relu, (torch.randn(3, 5),), name="relu")
    gather(task, printed(task), judged[2], None, versions()).write(tmp_path / "p.zip")
    back = read_bundle(tmp_path / "p.zip")
    assert back.task.payload == task.payload
    assert back.measurement is None
    shutil.copy(tmp_path / "p.zip", tmp_path / "q.zip")
    _repacked(tmp_path / "q.zip", lambda parts: parts.update({"task.pickle": b"other"}))
    with pytest.raises(BundleInvalid, match=r"not that of task\.json"):
        read_bundle(tmp_path / "q.zip")
