#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the page of `firstbit diff --html`: well-formed, complete in itself, harmless, and it says
what it must say.

usage: check_page.py PAGE.html [TEXT]...     every TEXT must be in what a reader sees
"""

import html.parser
import re
import sys

VOID = {"meta", "br", "link", "img", "input", "hr", "base", "source"}
SVG_EMPTY = {"rect", "line", "path", "circle"}
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "main", "section", "footer",
    "h1", "h2", "h3", "p", "div", "span", "b", "i", "strong", "mark", "code", "pre", "br", "dl",
    "dt", "dd", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "details", "summary",
    "svg", "rect", "line", "path", "circle", "text",
}
BYTES_MAX = 2 << 20
# Control characters, overrides of direction, characters that are not seen.
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200c-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.wrong, self.seen, self.ids, self.targets = [], [], [], set(), set()

    def check_attributes(self, tag, attributes):
        for name, value in attributes:
            if name.startswith("on") or name in ("src", "srcset", "action", "xlink:href", "data"):
                self.wrong.append(f"<{tag}> has {name}={value!r}")
            if name == "href" and not (value or "").startswith("#"):
                self.wrong.append(f"a link leads to {value!r}")
            if name == "href":
                self.targets.add((value or "")[1:])
            if name == "id":
                if value in self.ids:
                    self.wrong.append(f"two elements are called {value!r}")
                self.ids.add(value)

    def handle_starttag(self, tag, attributes):
        if tag not in ALLOWED:
            self.wrong.append(f"<{tag}> does not belong here")
        self.check_attributes(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        if tag not in SVG_EMPTY:
            self.wrong.append(f"<{tag}/> closes itself")
        self.check_attributes(tag, attributes)

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}, open: {self.open[-3:]}")
        elif self.open:
            self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.seen.append(data)


def main():
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    with open(sys.argv[1], "rb") as file:
        raw = file.read()
    text = raw.decode("utf-8")  # an error here is a finding too
    page = Page()
    page.feed(text)
    page.close()
    wrong = page.wrong
    seen = " ".join("".join(page.seen).split())
    wrong += [f"<{tag}> is never closed" for tag in page.open]
    wrong += [f"a link leads to #{name}, which is not there" for name in page.targets - page.ids]
    wrong += [f"not in the page: {word!r}" for word in sys.argv[2:] if word not in seen]
    style = text[text.find("<style>"):text.find("</style>")]
    wrong += [f"the style has {word}" for word in ("url(", "@import", "http") if word in style]
    wrong += [f"a character that is not seen: {c!r}" for c in HIDDEN.findall(text)]
    if "://" in re.sub(r"<[a-z]+[^>]*>[^<]*", lambda tag: tag[0].split(">")[0], text):
        wrong.append("an address of the network stands in a tag")
    if len(raw) > BYTES_MAX:
        wrong.append(f"{len(raw)} bytes")
    if not text.startswith("<!DOCTYPE html>") or "default-src 'none'" not in text:
        wrong.append("no doctype, or no policy that forbids the network")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
