"""Commands in fresh processes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import Any

from xmodal.bench.timing import alternate, row


def startup(rounds: int) -> dict[str, Any]:
    """Seconds of commands in fresh processes, alternating, and of the imports that one of them needs."""
    from xmodal.recipe.source import shipped

    recipe = str(shipped()["quickstart"])
    xmodal = [sys.executable, "-m", "xmodal"]
    commands = {
        "xmodal --help": [*xmodal, "--help"],
        "xmodal check quickstart": [*xmodal, "check", recipe],
        "xmodal explain --body gpt2": [*xmodal, "explain", "--body", "gpt2"],
        "import transformers.GPT2Model": [sys.executable, "-c", "from transformers import GPT2Model"],
    }

    def run(command: list[str]) -> None:
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "COLUMNS": "80"})

    times = alternate([lambda c=c: run(c) for c in commands.values()], rounds, 1)
    by_name = dict(zip(commands, times, strict=True))
    rows = [row(name, taken, "s", "itself") for name, taken in by_name.items()]
    base = by_name["import transformers.GPT2Model"]
    ratios = [a / b for a, b in zip(by_name["xmodal explain --body gpt2"], base, strict=True)]
    rows.append(row("explain / import", ratios, "x", "import transformers.GPT2Model"))
    return {
        "title": f"start-up, {rounds} rounds, fresh processes",
        "rows": rows,
        "environment": {"python": platform.python_version(), "platform": platform.platform(), "cores": os.cpu_count()},
    }
