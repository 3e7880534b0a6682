#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Opens a page of `firstbit diff --html` in headless Chromium, wide and narrow, light and dark: it is
drawn, in other colours in the dark, and nothing is said on the console. Exit status 77 where there
is no Chromium.

usage: check_page_in_chromium.py FIRSTBIT TRACE_A TRACE_B
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zlib

SIZES = ((1280, 800), (400, 800))
SCHEMES = (("light", 1), ("dark", 0))  # the number is Chromium's


def rows(png, width, height):
    """The pixels of a PNG of 8-bit RGB or RGBA as the first bytes of each row, unfiltered enough to
    tell pictures apart: the raw, decompressed stream."""
    data, at = b"", 8
    while at < len(png):
        length = int.from_bytes(png[at:at + 4], "big")
        if png[at + 4:at + 8] == b"IDAT":
            data += png[at + 8:at + 8 + length]
        at += length + 12
    assert int.from_bytes(png[16:20], "big") == width and int.from_bytes(png[20:24], "big") == height
    return zlib.decompress(data)


def browse(chromium, folder, *arguments):
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--disable-background-networking", "--enable-logging=stderr",
         "--user-data-dir=" + os.path.join(folder, "profile"), *arguments,
         "file://" + os.path.join(folder, "page.html")],
        cwd=folder, capture_output=True, timeout=100, check=True)
    console = [line for line in done.stderr.decode(errors="replace").splitlines() if ":CONSOLE" in line]
    return done.stdout.decode(errors="replace"), console


def main():
    if len(sys.argv) != 4:
        print(__doc__)
        return 2
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium here")
        return 77
    wrong, pictures = [], {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = os.path.join(folder, "page.html")
        subprocess.run([sys.argv[1], "diff", sys.argv[2], sys.argv[3], "--html", page],
                       stdout=subprocess.DEVNULL, check=False)
        dom, console = browse(chromium, folder, "--dump-dom")
        wrong += console
        if "<h1>" not in dom or "What was compared" not in dom:
            wrong.append("the page is not there as a whole")
        for width, height in SIZES:
            for name, number in SCHEMES:
                shot = os.path.join(folder, f"{width}-{name}.png")
                _, console = browse(chromium, folder, f"--screenshot={shot}", f"--window-size={width},{height}",
                                    f"--blink-settings=preferredColorScheme={number}")
                wrong += console
                with open(shot, "rb") as file:
                    pictures[width, name] = rows(file.read(), width, height)
                if len(set(pictures[width, name])) < 16:
                    wrong.append(f"{width} {name}: nothing is drawn")
            if pictures[width, "light"] == pictures[width, "dark"]:
                wrong.append(f"{width}: light and dark are the same")
    print("\n".join(wrong) or "drawn")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
