"""House rules that no compiler checks: sizes, the arrows between rooms, what the top level may hold, words that may
not appear. Called by tests/run; prints every breach with its file and ends with status 1 if there is any."""

import pathlib
import re
import subprocess
import sys
import tomllib

FILE_LINES_MAX = 500
TOP_LEVEL = {
    "Cargo.toml", "Cargo.lock", "proto", "node", "gateway", "deploy", "tests", "README.md", "LICENSE",
    "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "rust-toolchain.toml", "clippy.toml", "deny.toml",
    "rustfmt.toml",
}
# Which workspace crates each crate may use (ARCHITECTURE.md, Rooms).
ARROWS = {
    "kith-proto": set(),
    "kith-service": {"kith-proto"},
    "kith-node": {"kith-proto", "kith-service"},
    "kith-gateway": {"kith-proto", "kith-service"},
    "kith-demo": {"kith-proto", "kith-service", "kith-node", "kith-gateway"},
    "kith-bare": set(),
    "kith-fuzz": {"kith-proto"},
    "kith-fuzz-long": {"kith-fuzz"},
    "kith-tests": {"kith-proto", "kith-service", "kith-node", "kith-gateway", "kith-demo"},
}
# What the pure crate may never use, at any depth of its sources.
PROTO_ABSENT = re.compile(r"\b(tokio|sqlx|SystemTime|Instant::now|thread_rng|OsRng|getrandom|SystemRandom)\b")
# Absences of the design: a field, code or column with such a name may not exist. (The screen and the wire test name them to
# refuse them, so they are exempt.)
NAMES_ABSENT = re.compile(
    r"\b(immigration_status|visa_number|passport_number|nationality|brp_number|home_office_ref\w*)\b", re.IGNORECASE
)
SCREEN = ("proto/src/screen", "proto/src/wire.rs", "proto/src/part.rs", "node/tests/grpc/inputs.rs")
FILE_NAMES_BANNED = {"util", "utils", "helper", "helpers", "manager", "common", "misc"}


def tracked() -> list[pathlib.Path]:
    """Files git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
    )
    return [p for p in map(pathlib.Path, listed.stdout.splitlines()) if p.is_file()]


def breaches_of_text(path: pathlib.Path) -> list[str]:
    """Breaches in one source file."""
    text = path.read_text(encoding="utf-8")
    found = []
    if path.suffix == ".rs":
        lines = text.count("\n")
        if lines > FILE_LINES_MAX:
            found.append(f"{lines} lines; at most {FILE_LINES_MAX}")
        if path.name != "build.rs" and not text.startswith("//!"):
            found.append("does not open with its purpose (//!)")
    if path.stem in FILE_NAMES_BANNED:
        found.append("its name says nothing")
    if str(path).startswith("proto/src/") and PROTO_ABSENT.search(text):
        found.append("proto may use no runtime, SQL, clock or ambient randomness")
    if path.suffix in {".rs", ".proto", ".sql"} and not str(path).startswith(SCREEN):
        for hit in NAMES_ABSENT.findall(text):
            found.append(f"names {hit}, which must not exist")
    return found


def breaches_of_arrows(path: pathlib.Path) -> list[str]:
    """Arrows a manifest draws that the rooms do not allow."""
    manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    name = manifest.get("package", {}).get("name")
    if name is None:
        return []
    if name not in ARROWS:
        return [f"crate {name} has no room"]
    kinds = ("dependencies", "dev-dependencies", "build-dependencies")
    used = {d for kind in kinds for d in manifest.get(kind, {}) if d.startswith("kith-")}
    return [f"{name} may not use {d}" for d in sorted(used - ARROWS[name])]


def main() -> int:
    """Prints each breach; 1 if there is any."""
    files = tracked()
    found = []
    for top in sorted({p.parts[0] for p in files}):
        if not top.startswith(".") and top not in TOP_LEVEL:
            found.append(f"{top}: the top level does not hold this")
    for path in files:
        if path.suffix in {".rs", ".proto", ".sql", ".py", ".toml", ".md"}:
            found += [f"{path}: {breach}" for breach in breaches_of_text(path)]
        if path.name == "Cargo.toml":
            found += [f"{path}: {breach}" for breach in breaches_of_arrows(path)]
    print("\n".join(found) if found else f"tidy: {len(files)} files, nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
