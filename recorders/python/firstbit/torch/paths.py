# SPDX-License-Identifier: Apache-2.0
"""Where the program is: the path of the module whose forward pass runs."""

import collections
import weakref
from typing import Any, Dict, Hashable, List, Optional, Tuple

import torch

from .._stack import CallStack

_NODES_MAX = 1 << 16  # of a graph that is looked through


class Calls(CallStack):
    """The program's call stack. Two places in a model differ also where the model is called from
    two, however many frames lie between."""

    def __init__(self, modules: "Modules") -> None:
        super().__init__()
        self._modules = modules

    def place(self) -> Hashable:
        return super().place(), self._modules.caller


class Modules:
    """Names of modules and parameters, and the stack of modules that are being called.

    The tree of a model that `record` was given has its own names; that of any other module that
    the program calls begins with its class's name, and a number where the class came before.
    """

    def __init__(self, roots: Dict[str, torch.nn.Module]) -> None:
        self._paths: "weakref.WeakKeyDictionary[torch.nn.Module, str]" = (
            weakref.WeakKeyDictionary())
        self._roots: "List[Tuple[str, weakref.ref[torch.nn.Module]]]" = []
        self._names: Dict[int, Tuple["weakref.ref[torch.Tensor]", str]] = {}
        self.leaves: "List[Tuple[str, weakref.ref[torch.Tensor]]]" = []
        self._classes: Dict[str, int] = {}
        self.stack: "List[Tuple[str, bool, bool]]" = []  # of the callers: path, training, gradients
        self.path = ""
        self.caller = 0  # names the place where the outermost of them is called
        self.training = self.grad = True
        for name, root in roots.items():
            self._name_tree(root, name)

    def _name_tree(self, root: torch.nn.Module, name: str) -> None:
        self._roots.append((name, weakref.ref(root)))
        prefix = name + "." if name else ""
        for path, module in root.named_modules():
            self._paths.setdefault(module, (prefix + path).rstrip("."))
        for path, parameter in root.named_parameters():
            self._names.setdefault(id(parameter), (weakref.ref(parameter), prefix + path))

    def path_of(self, module: torch.nn.Module) -> str:
        path = self._paths.get(module)
        if path is None:
            above = self.path
            name = type(module).__name__
            if not self.stack:
                count = self._classes[name] = self._classes.get(name, 0) + 1
                path = name if count == 1 else f"{name}#{count}"
                self._name_tree(module, path)
            else:  # made while the forward pass runs, or kept out of the tree
                path = f"{above}.{name}" if above else name
        return path

    def enter(self, module: torch.nn.Module) -> bool:
        """True where the program itself called it, or its modes are not those of its caller."""
        path, stack = self.path_of(module), self.stack
        before = (self.path, self.training, self.grad)
        self.path, self.training, self.grad = path, module.training, torch.is_grad_enabled()
        stack.append(before)
        return (len(stack) == 1 or self.training is not before[1] or self.grad is not before[2])

    def leave(self) -> None:
        self.path, self.training, self.grad = self.stack.pop()
        if not self.stack:
            self.caller = 0

    def restart(self) -> None:
        """Another thread is recorded from here on: it is in no module."""
        self.stack, self.path, self.caller = [], "", 0
        self.training = self.grad = True

    def name_of(self, parameter: torch.Tensor) -> Optional[str]:
        entry = self._names.get(id(parameter))
        if entry is not None and entry[0]() is parameter:
            return entry[1]
        for name, reference in self._roots:  # parameters that were made later: lazy modules
            root = reference()
            for path, known in root.named_parameters() if root is not None else ():
                if known is parameter:
                    full = f"{name}.{path}" if name else path
                    self._names[id(parameter)] = (weakref.ref(parameter), full)
                    return full
        return None

    def _all(self, what: str) -> "List[Tuple[str, torch.Tensor]]":
        found = []
        for name, reference in self._roots:
            root = reference()
            if root is not None:
                prefix = name + "." if name else ""
                found += [(prefix + path, t) for path, t in getattr(root, what)()]
        return found

    def parameters(self) -> "List[Tuple[str, torch.Tensor]]":
        leaves = [(name, reference()) for name, reference in self.leaves]
        return self._all("named_parameters") + [(n, t) for n, t in leaves if t is not None]

    def name_leaves(self, tensors: Any, inputs: Any) -> None:
        """A program without modules learns the tensors that its first backward pass ends at: leaf0,
        leaf1, ... in the order in which they are met from the loss."""
        for leaf in list(inputs or ()) or _leaves(tensors):
            if isinstance(leaf, torch.Tensor):
                name = f"leaf{len(self.leaves)}"
                self.leaves.append((name, weakref.ref(leaf)))
                self._names.setdefault(id(leaf), (weakref.ref(leaf), name))

    def buffers(self) -> "List[Tuple[str, torch.Tensor]]":
        return self._all("named_buffers")


def _leaves(tensors: Any) -> List[torch.Tensor]:
    """Where the graph behind these tensors ends."""
    waiting = collections.deque(
        t.grad_fn for t in ([tensors] if isinstance(tensors, torch.Tensor) else tensors))
    seen, found = set(waiting), []
    while waiting and len(seen) < _NODES_MAX:
        node = waiting.popleft()
        if hasattr(node, "variable"):
            found.append(node.variable)
        for behind, _ in getattr(node, "next_functions", ()):
            if behind is not None and behind not in seen:
                seen.add(behind)
                waiting.append(behind)
    return found
