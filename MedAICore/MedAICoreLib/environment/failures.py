"""What went wrong, for a person: the tools' own words matched with a plain sentence and a remedy."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from medai.errors import EnvironmentFailure, MedAIError


class DiagnosedFailure(EnvironmentFailure):
    """An environment failure of a known `kind`; `details` are the tools' last words."""

    def __init__(self, message: str, remedy: str = "", kind: str = "unknown", details: str = "") -> None:
        super().__init__(message, remedy)
        self.kind = kind
        self.details = details

    def __reduce__(self) -> tuple[type[MedAIError], tuple[str, ...]]:  # type: ignore[override]
        return type(self), (self.message, self.remedy, self.kind, self.details)


@dataclass(frozen=True)
class Failure:
    """A kind of failure: what the person is told, and the patterns (of uv, pip, the systems) that mean it.

    `{folder}` is the environment's folder, `{what}` what the pattern's group caught, `{stage}` what was being done.
    """

    kind: str
    message: str
    remedy: str
    patterns: tuple[str, ...] = ()


# Searched in this order: what is more special comes first (a refusing proxy is also a failed connection).
FAILURES = (
    Failure(
        "disk-full",
        "The disk of '{folder}' is full.",
        "Free some space (the question above says how much is needed), then continue: what was downloaded is kept.",
        (
            r"No space left on device",
            r"os error 28\b",
            r"Errno 28\b",
            r"os error 112\b",
            r"WinError 112\b",
            r"not enough space on the disk",
            r"Disk quota exceeded",
            r"os error 122\b.*quota",
        ),
    ),
    Failure(
        "path-too-long",
        "A file name below '{folder}' is too long for this system.",
        "Choose a folder with a shorter path, or let an administrator switch on long paths in Windows.",
        (
            r"File name too long",
            r"os error 36\b",
            r"Errno 36\b",
            r"os error 206\b",
            r"WinError 206\b",
            r"filename or extension is too long",
        ),
    ),
    Failure(
        "hash-mismatch",
        "A downloaded file is not the one that MedAI was tested with{what}.",
        "Try again. If it happens again, something between this computer and the internet changes downloads (a proxy "
        "or virus scanner): ask the administrator, or install from an offline pack.",
        (
            r"Hash mismatch for `?([^`\n]+)`?",
            r"THESE PACKAGES DO NOT MATCH THE HASHES",
            r"checksum mismatch",
            r"No matching hash",
            r"Unzipped? .*failed.*(?:CRC|checksum)",
            r"[Ii]nvalid (?:checksum|CRC)",
            r"Bad CRC-32",
            r"hash(?:es)? (?:do|does) not match",
        ),
    ),
    Failure(
        "locked-file",
        "Another program keeps a file of the environment open{what}.",
        "Close other Slicer windows. If a virus scanner looks at the new files, wait a minute, then try again; it "
        "helps to except '{folder}' from its scan.",
        (r"os error 32\b", r"WinError 32\b", r"being used by another process", r"Text file busy", r"os error 26\b"),
    ),
    Failure(
        "policy",
        "This computer does not allow programs to be started from '{folder}'.",
        "Ask the administrator to allow programs in this folder, choose a Python that is installed and allowed, or use "
        "Slicer's own Python.",
        (
            r"WinError 1260\b",
            r"os error 1260\b",
            r"blocked by group policy",
            r"blocked by your administrator",
            r"WinError 4551\b",
            r"os error 4551\b",
            r"Application Control policy",
            r"Failed to (?:query|spawn|inspect)[^\n]*interpreter[\s\S]{0,300}Permission denied",
            r"cannot be started: \[(?:Errno 13|WinError 5)\]",
        ),
    ),
    Failure(
        "no-permission",
        "MedAI may not write into '{folder}'.",
        "Ask the administrator for the right to write there, or choose another folder in the settings.",
        (
            r"Read-only file system",
            r"os error 30\b",
            r"Errno 30\b",
            r"Permission denied",
            r"os error 13\b",
            r"Errno 13\b",
            r"WinError 5\b",
            r"os error 5\b",
            r"Access is denied",
            r"Operation not permitted",
        ),
    ),
    Failure(
        "proxy",
        "The proxy server cannot be reached, or refuses the connection{what}.",
        "Check the proxy of this computer's settings (HTTPS_PROXY), with name and password where it asks for them, or "
        "install from an offline pack.",
        (
            r"407 Proxy",
            r"Proxy Authentication Required",
            r"status 407",
            r"tunnel error",
            r"unsuccessful tunnel",
            r"Cannot connect to proxy",
            r"ProxyError",
            r"proxy connect",
            r"Tunnel connection failed",
            r"tunnel failed",
        ),
    ),
    Failure(
        "certificate",
        "The certificate of the download server is not trusted.",
        "The network may check encrypted traffic with a certificate of its own: let the administrator add it to the "
        "system's certificates, or name its file in the variable SSL_CERT_FILE, then start Slicer again.",
        (
            r"invalid peer certificate",
            r"UnknownIssuer",
            r"CERTIFICATE_VERIFY_FAILED",
            r"certificate verify failed",
            r"self.signed certificate",
            r"No CA certificates were loaded",
            r"CaUsedAsEndEntity",
            r"certificate (?:not valid|is not trusted|expired)",
        ),
    ),
    Failure(
        "no-network",
        "The download server cannot be reached{what}.",
        "Check the network connection and, if this network needs one, the proxy (HTTPS_PROXY), then continue: what was "
        "downloaded is kept. Without a network, install from an offline pack.",
        (
            r"(?:error sending request|Failed to (?:fetch|download))[^\n]*?(https?://[^/\s`)]+)",
            r"dns error",
            r"Name or service not known",
            r"Temporary failure in name resolution",
            r"failed to lookup address",
            r"Network is unreachable",
            r"Connection refused",
            r"NewConnectionError",
            r"getaddrinfo failed",
            r"timed out",
            r"Connection reset",
            r"Network connectivity is disabled",
            r"No route to host",
        ),
    ),
    Failure(
        "missing-package",
        "A package that MedAI needs is not available for this interpreter{what}.",
        "Choose a Python 3.11, 3.12 or 3.13, or let MedAI load one.",
        (
            r"No solution found[\s\S]*?Because ([^\n]{1,120}?)(?: and |, )",
            r"No matching distribution found for ([^\n]+)",
            r"has no wheels with a matching",
            r"requires a different Python",
        ),
    ),
    Failure(
        "killed",
        "The system ended the installation while {stage}.",
        "There was probably too little memory: close other programs, then continue.",
        (r"ended with signal 9\b", r"MemoryError", r"Cannot allocate memory", r"os error 12\b"),
    ),
)
_BY_KIND = {failure.kind: failure for failure in FAILURES}


def diagnose(output: str, folder: str, stage: str = "installing") -> DiagnosedFailure:
    """The failure that the last words of uv, pip or the system mean; an unknown one shows them as they are."""
    for failure in FAILURES:
        for pattern in failure.patterns:
            match = re.search(pattern, output, re.IGNORECASE)
            if match:
                what = next((group for group in match.groups() if group), "")
                return _filled(failure, folder, stage, f" ({what.strip()})" if what else "", output)
    last = [line.strip() for line in output.splitlines() if line.strip()][-3:]
    return DiagnosedFailure(
        f"The environment could not be completed while {stage}: {' '.join(last) or 'no reason was given'}.",
        "Try again. The details say what the tools printed; please report them if it happens again.",
        "unknown",
        output,
    )


def diagnose_error(error: BaseException, folder: str, stage: str = "installing") -> MedAIError:
    """The same for an exception of this process; a MedAIError says itself what it is."""
    if isinstance(error, MedAIError):
        return error
    # Windows has one errno for several reasons; its own numbers are among the words.
    if isinstance(error, OSError) and getattr(error, "winerror", None) is None:
        kind = {
            errno.ENOSPC: "disk-full", errno.EDQUOT: "disk-full", errno.ENAMETOOLONG: "path-too-long",
            errno.EACCES: "no-permission", errno.EPERM: "no-permission", errno.EROFS: "no-permission",
        }.get(error.errno or 0)  # fmt: skip
        if kind:
            return _filled(_BY_KIND[kind], folder, stage, "", f"{error}")
    return diagnose(f"{type(error).__name__}: {error}", folder, stage)


def failure_of(kind: str, folder: str, what: str = "", details: str = "") -> DiagnosedFailure:
    """The failure of a kind that was found out before any tool ran."""
    return _filled(_BY_KIND[kind], folder, "preparing", f" ({what})" if what else "", details)


def _filled(failure: Failure, folder: str, stage: str, what: str, details: str) -> DiagnosedFailure:
    return DiagnosedFailure(
        failure.message.format(folder=folder, what=what, stage=stage),
        failure.remedy.format(folder=folder, what=what, stage=stage),
        failure.kind,
        details,
    )
