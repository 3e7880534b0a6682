# SPDX-License-Identifier: Apache-2.0
"""Running firstbit from a test."""
import json
import subprocess


class Failure(Exception):
    """What was not as it should be."""


def run(folder, *arguments, expected=0, timeout=120):
    """Runs a program in a folder and returns what it printed."""
    try:
        result = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False,
                                timeout=timeout)
    except subprocess.TimeoutExpired as late:
        raise Failure("%s: not done after %d s" % (" ".join(arguments), timeout)) from late
    if result.returncode != expected:
        raise Failure("%s: exit %d, expected %d\n%s%s" % (" ".join(arguments), result.returncode,
                                                          expected, result.stderr, result.stdout))
    return result.stdout


def read_events(firstbit, folder, trace):
    """The events of a trace, as `show --json` has them."""
    return [json.loads(line)
            for line in run(folder, firstbit, "show", trace, "--json").splitlines()]
