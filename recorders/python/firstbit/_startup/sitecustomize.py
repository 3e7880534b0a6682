# SPDX-License-Identifier: Apache-2.0
"""What `firstbit record` puts at the head of PYTHONPATH: Python runs it before the program.

It leaves no trace of itself, runs the sitecustomize that it hides, and begins to record when the
program imports torch.
"""

import importlib.abc
import importlib.machinery
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
    """Loads torch as its own loader does, and then begins the recording."""

    def __init__(self, loader, settings):
        self.loader, self.settings = loader, settings

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = self.loader
        module.__loader__ = self.loader
        self.loader.exec_module(module)
        _begin(self.settings)

    def __getattr__(self, name):
        return getattr(self.loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, settings):
        self.settings = settings

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.settings)
        return spec


def _begin(settings):
    try:
        sys.path.append(_PACKAGE)
        try:
            import firstbit._follow
            import firstbit._vary
            import firstbit.torch
        finally:
            sys.path.remove(_PACKAGE)
        firstbit._vary.apply(settings)
        settings = firstbit._follow.ranked(settings)
        if "FIRSTBIT_PARENT" in settings:
            firstbit.recorder.process_header.update(parent=settings["FIRSTBIT_PARENT"],
                                                    role=settings["FIRSTBIT_ROLE"])
        firstbit.torch.begin_by_environment(settings)
        firstbit._follow.begin(settings, _HERE)
    except Exception as failure:
        kind = type(failure).__name__
        said = str(failure) if kind == "TraceError" else f"{kind}: {failure}"
        print(f"firstbit record: {said}", file=sys.stderr)


_settings = _take_out()
if _settings.get("FIRSTBIT_RECORD"):
    sys.meta_path.insert(0, _Finder(_settings))
_run_hidden()
