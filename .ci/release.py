"""A release, short of uploading it: `make release`. Every check is made, and all that fail are named.

The tree is clean, the changelog and CITATION.cff know the version, a tag that says another is refused, the sdist and
the wheel are built (the wheel from the sdist, so that the sdist holds all it takes), and their metadata are checked as
an index checks them. Then it says what would be uploaded. Nothing is.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version_of(root: Path) -> str:
    """The version of a tree, which stands in pyproject.toml and nowhere else."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def faults_of(root: Path) -> Iterator[str]:
    """What keeps a tree from being released."""
    version = version_of(root)
    if changed := git(root, "status", "--porcelain").splitlines():
        yield f"the tree is not clean: {len(changed)} file(s) differ from the commit; commit or remove them"
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE):
        yield f"CHANGELOG.md has no section '## [{version}] - DATE'; give what stands under Unreleased that heading"
    if f"\nversion: {version}\n" not in (root / "CITATION.cff").read_text(encoding="utf-8"):
        yield f"CITATION.cff is not of version {version}"
    yield from tag_faults(root, version)


def tag_faults(root: Path, version: str) -> Iterator[str]:
    """Tags that say another version of this commit, or of another commit this version."""
    here = [tag for tag in git(root, "tag", "--points-at", "HEAD").split() if re.match(r"v\d", tag)]
    for tag in here:
        if tag != f"v{version}":
            yield f"this commit is tagged {tag}, and pyproject.toml says {version}"
    if f"v{version}" in git(root, "tag").split() and f"v{version}" not in here:
        yield f"the tag v{version} is on another commit; raise the version in pyproject.toml"


def build(root: Path, out: Path) -> list[Path]:
    """The sdist, and the wheel that is built from it."""
    done = subprocess.run([sys.executable, "-m", "build", "--outdir", out, root], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}\nthe build failed; it takes build, and hatchling from a registry")
    return sorted(out.iterdir())


def git(root: Path, *words: str) -> str:
    """What git says."""
    return subprocess.run(["git", "-C", root, *words], check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Checks, builds, and tells; 1 where anything is wrong."""
    version = version_of(ROOT)
    out = ROOT / "dist" / version
    for old in out.glob("*"):
        old.unlink()
    found = list(faults_of(ROOT))
    files = build(ROOT, out)
    checked = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files])
    if checked.returncode:
        found.append("twine finds fault with the metadata, see above")
    say = sys.stdout.write
    for fault in found:
        say(f"not ready: {fault}\n")
    say(f"xmodal {version} would be uploaded as\n" if not found else f"xmodal {version} was built as\n")
    for file in files:
        say(f"  {file.relative_to(ROOT)}  {file.stat().st_size:,} bytes  ")
        say(f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}\n")
    say("nothing was uploaded\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
