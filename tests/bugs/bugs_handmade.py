# SPDX-License-Identifier: Apache-2.0
"""Mechanisms in optimizers and backward passes that people write themselves."""

from case import Bug, Event


def update(slot="param", step=1, path="Net.*", op="handadamw"):
    return (Event(step, "optimizer", path, op, slot),)


def backward(path, op, step=1, slot="*"):
    return (Event(step, "backward", path, op, slot),)


BUGS = [
    Bug("bias-correction-missing", "", "Adam without its bias correction", "handmade", """
-                m = state["m"] / (1 - beta1 ** state["t"])
-                v = state["v"] / (1 - beta2 ** state["t"])
+                m, v = state["m"], state["v"]
""", update(), "optimizer-formula"),

    Bug("bias-correction-one-step-late", "", "Adam counts its steps from 2", "handmade", """
-                    state["t"] = 0
+                    state["t"] = 1
""", update("param|t"), "optimizer-formula"),

    Bug("eps-inside-the-root", "", "eps below the root instead of beside it", "handmade", """
-                p.addcdiv_(m, v.sqrt() + group["eps"], value=-group["lr"])
+                p.addcdiv_(m, (v + group["eps"]).sqrt(), value=-group["lr"])
""", update(), "optimizer-formula"),

    Bug("decay-after-update", "transformers#14539", "decay is applied to what is updated already",
        "handmade", """
-                p.mul_(1 - group["lr"] * group["decay"])
                 state["m"].mul_(beta1).add_(grad, alpha=1 - beta1)
@@
                 p.addcdiv_(m, v.sqrt() + group["eps"], value=-group["lr"])
+                p.mul_(1 - group["lr"] * group["decay"])
""", update(), "optimizer-formula"),

    Bug("decay-in-the-gradient", "tensorli#1", "decay goes through the moments", "handmade", """
-                grad = p.grad
-                p.mul_(1 - group["lr"] * group["decay"])
+                grad = p.grad + group["decay"] * p
""", update("param|m|v"), "optimizer-formula"),

    Bug("decay-ignored", "Paddle#5836", "the decay that is asked for is not applied", "handmade", """
-                p.mul_(1 - group["lr"] * group["decay"])
""", update(), "optimizer-formula"),

    Bug("nesterov-left-out", "", "plain momentum where Nesterov's was meant", "conv", """
-    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
+    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
""", update("param|nesterov", op="sgd|*") + (Event(1, "optimizer", "optimizer0*"),),
        "optimizer-formula"),

    Bug("softmax-backward-without-its-sum", "cTensor PR#31",
        "the backward pass of softmax lacks the term that couples the outputs", "handmade", """
-        return y * (grad - (grad * y).sum(-1, keepdim=True))
+        return y * grad
""", backward("*", "mul|sum|sub"), "backward-op"),

    Bug("normalization-backward-lacks-a-term", "FlagGems#5392 (the class)",
        "the backward pass of a normalization lacks the term along its output", "handmade", """
-        return (grad - grad.mean(-1, keepdim=True) - y * along) / deviation
+        return (grad - grad.mean(-1, keepdim=True)) / deviation
""", backward("*", "mul|sub|div|mean"), "backward-op"),

    Bug("lookup-gradient-overwrites", "xla#49143 (the class)",
        "words that occur twice keep only one of their gradients", "handmade", """
-        out.index_put_((words.flatten(),), grad.flatten(0, 1), accumulate=True)
+        out.index_put_((words.flatten(),), grad.flatten(0, 1), accumulate=False)
""", backward("*", "index_put_"), "backward-op", quick=True),

    Bug("branch-detached", "Automodel#1408 (the class)", "a branch is cut from the gradient", "gpt", """
-        x = x + self.attn(self.ln1(x))
+        x = x + self.attn(self.ln1(x).detach())
""", backward("GPT.h.1*|", "*"), "backward-op"),

    Bug("layer-under-no-grad", "deepinv#166 (the class)", "a layer is called without gradients",
        "tabular", """
-        x = F.relu(self.first(x))
+        with torch.no_grad():
+            x = F.relu(self.first(x))
""", (Event(1, path="Classifier.first", kind="mode"), Event(1, "backward", "Classifier*|")),
        "mode-flag"),

]
