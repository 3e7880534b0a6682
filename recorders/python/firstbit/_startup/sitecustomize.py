# SPDX-License-Identifier: Apache-2.0
"""What `firstbit record` puts at the head of PYTHONPATH: Python runs it before the program.

It leaves no trace of itself, runs the sitecustomize that it hides, leads the processes that the
program starts to record too, and begins to record when the program imports torch.
"""

import importlib.abc
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.dirname(os.path.dirname(_HERE))


def _take_out():
    """The program sees nothing of it: its environment and sys.path are what they would have been."""
    settings = {name: os.environ.pop(name) for name in list(os.environ)
                if name.startswith("FIRSTBIT_") and name not in ("FIRSTBIT_LIBRARY", "FIRSTBIT_DEBUG",
                                                                "FIRSTBIT_PYTHON")}
    rest = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep)
            if os.path.abspath(path or ".") != _HERE]
    if any(rest):
        os.environ["PYTHONPATH"] = os.pathsep.join(rest)
    else:
        os.environ.pop("PYTHONPATH", None)
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]
    return settings


def _run_hidden():
    """The sitecustomize of the system, which this one stands in front of."""
    mine = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError:
        if mine is not None:
            sys.modules["sitecustomize"] = mine


class _Loader(importlib.abc.Loader):
    """Loads a module as its own loader does, and then calls `behind`."""

    def __init__(self, loader, behind):
        self.loader, self.behind = loader, behind

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = self.loader
        module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.behind()

    def __getattr__(self, name):
        return getattr(self.loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    """awaited: what to call once a module of that name is imported. Others find it."""

    def __init__(self, awaited):
        self.awaited = awaited

    def find_spec(self, name, path=None, target=None):
        behind = self.awaited.pop(name, None)
        if not self.awaited and self in sys.meta_path:
            sys.meta_path.remove(self)
        if behind is None:
            return None
        for finder in list(sys.meta_path):
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, behind)
                return spec
        self.awaited[name] = behind  # it is not there yet
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        return None


def _guarded(call, *arguments):
    """No failure of the recorder reaches the program: it is told."""
    try:
        call(*arguments)
    except Exception as failure:
        kind = type(failure).__name__
        said = str(failure) if kind == "TraceError" else f"{kind}: {failure}"
        print(f"firstbit record: {said}", file=sys.stderr)


def _begin(family):
    try:
        family.claim()
    except OSError as failure:
        raise RuntimeError(f"{family.path()}: the recording has ended: {failure}") from failure
    sys.path.append(_PACKAGE)
    try:
        import firstbit._vary
        import firstbit.recorder
        import firstbit.torch
    finally:
        sys.path.remove(_PACKAGE)
    firstbit._vary.apply(family.settings)
    firstbit.recorder.process_header.update(family.header())
    if not family.role and "FIRSTBIT_ID" in family.settings:
        firstbit.recorder.process_id = os.path.abspath(family.main), family.settings["FIRSTBIT_ID"]
    family.before_exec = lambda: _guarded(firstbit.torch.end_for_exec)
    firstbit.torch.begin_by_environment({**family.settings, "FIRSTBIT_RECORD": family.path()})


def _follow(settings):
    """The module of that name, which is loaded without the package that it belongs to."""
    name = "firstbit._follow"
    spec = importlib.util.spec_from_file_location(
        name, os.path.join(_PACKAGE, "firstbit", "_follow.py"))
    follow = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(follow)
    sys.modules[name] = follow
    family = follow.Family(settings, _HERE)
    follow.follow_os(family)
    awaited = {"torch": lambda: _guarded(_begin, family)}
    for module, starter in follow.STARTERS.items():
        if module in sys.modules:
            starter(family)
        else:
            awaited[module] = lambda starter=starter: _guarded(starter, family)
    sys.meta_path.insert(0, _Finder(awaited))


_settings = _take_out()
if _settings.get("FIRSTBIT_RECORD"):
    _guarded(_follow, _settings)
_run_hidden()
