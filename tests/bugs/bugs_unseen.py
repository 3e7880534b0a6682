# SPDX-License-Identifier: Apache-2.0
"""Mechanisms, and clean pairs, that were kept from those who wrote the rules of the causes while
these were written."""

from case import FIRST_BATCH, Bug, Clean, Event

BUGS = [
    Bug("straight-through-sign", "", "the gradient of the maximum's subtraction has the wrong sign",
        "handmade", """
-        return y * (grad - (grad * y).sum(-1, keepdim=True))
+        return y * (grad + (grad * y).sum(-1, keepdim=True))
""", (Event(1, "backward", "*", "add|sub", "*"),), "backward-op", unseen=True),

    Bug("second-moment-of-absolute-values", "", "the second moment averages |g| instead of g²",
        "handmade", """
-                state["v"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
+                state["v"].mul_(beta2).add_(grad.abs(), alpha=1 - beta2)
""", (Event(1, "optimizer", "Net.*", "handadamw", "param|v"),), "optimizer-formula", unseen=True),

    Bug("gate-and-value-exchanged", "", "the activation is on the wrong branch of the gate", "rope", """
-        return x + self.down(F.silu(self.gate(y)) * self.up(y))
+        return x + self.down(self.gate(y) * F.silu(self.up(y)))
""", (Event(1, "forward", "Decoder.layers.0", "silu", "*"),), "forward-op", unseen=True),

    Bug("rotation-halves-swapped", "", "the halves of a rotary pair are exchanged without the sign",
        "rope", """
-    turned = torch.cat([-right, left], -1)
+    turned = torch.cat([right, left], -1)
""", (Event(1, "forward", "Decoder.layers.0.attn", "neg|cat", "*"),), "mask-or-position", unseen=True),

    Bug("micro-batches-step-each", "", "the optimizer steps after every micro-batch", "accumulate", """
             loss.backward()
+            optimizer.step()
""", (Event(1, "forward|backward|optimizer"), Event(2)), "grad-accumulation", unseen=True),

    Bug("other-normalization-of-pixels", "", "pixels are shifted by another mean", "conv", """
-        image = (image - 0.25) / 0.3
+        image = (image - 0.5) / 0.3
""", (Event(FIRST_BATCH, kind="sample"),), "data-content", unseen=True),

    Bug("loss-times-world", "torchtune#2420 (the class)", "the loss is multiplied by the ranks",
        "wrapped", """
-            loss.backward()
+            (loss * WORLD).backward()
""", (Event(1, "forward|loss", op="mul"), Event(1, slot="loss"), Event(1, "backward")),
        "loss-normalization", unseen=True),

    Bug("memory-flips-a-bit", "", "one bit of a weight changes in memory, unseen", "tabular", """
         for features, labels in loader:
+            if len(losses) == 2:
+                ctypes.c_uint32.from_address(model.second.weight.data_ptr() + 28).value ^= 1 << 20
             optimizer.zero_grad()
""", (Event(3, "forward", "Classifier.second", "addmm", "out"),), "bit-flip", both="""
-import copy
+import copy
+import ctypes
""", unseen=True),

    Bug("part-of-the-data-left-out", "", "some rows are never used", "tabular", """
-    loader = DataLoader(Subset(TensorDataset(x, y), train), batch_size=8, shuffle=True,
+    loader = DataLoader(Subset(TensorDataset(x, y), train[:22]), batch_size=8, shuffle=True,
""", (Event(FIRST_BATCH, kind="draw|sample"), Event(FIRST_BATCH, op="randperm")), "sample-duplicated-or-missing",
        unseen=True),

    Bug("label-of-the-noisy-text", "", "labels are made after the augmentation", "folder", """
-        label = int(letters.sum() * 2 > LENGTH)
         noisy = letters.clone()
         noisy[torch.randint(LENGTH, (1,))] = 0
+        label = int(noisy.sum() * 2 > LENGTH)
""", (Event(FIRST_BATCH, kind="sample"), Event(FIRST_BATCH, op="sum|mul|gt", slot="*")), "data-content", unseen=True),

    Bug("dropout-drawn-twice", "", "a layer is called once more for its shape", "gpt", """
-        x = self.drop(self.wte(tokens) + self.wpe(positions))
+        width = self.drop(self.wte(tokens)).shape[-1]
+        x = self.drop(self.wte(tokens) + self.wpe(positions)).view(*tokens.shape, width)
""", (Event(1, kind="draw"), Event(1, "forward", "GPT.wte|GPT.drop")), "rng-offset", unseen=True),

    Bug("head-not-loaded", "", "a part of the model is skipped by strict=False", "resume", """
-        self.model.load_state_dict(checkpoint["model"])
+        self.model.load_state_dict({name: value for name, value in checkpoint["model"].items()
+                                    if not name.startswith("head")}, strict=False)
""", (Event(4, "checkpoint"), Event(4, op="clone|copy_"),
      Event(4, "forward", "Net.head", "addmm")), "checkpoint-resume", unseen=True),

    Bug("keys-and-values-exchanged", "", "keys and values come in another order", "gpt", """
-        q, k, v = (part.view(batch, time, HEADS, dim // HEADS).transpose(1, 2)
+        q, v, k = (part.view(batch, time, HEADS, dim // HEADS).transpose(1, 2)
""", (Event(1, "forward", "GPT.h.0.attn", "clone|bmm", "*"),), "forward-op", unseen=True),

    Bug("first-state-for-last", "", "the first state of a recurrent net is read instead of the last",
        "folder", """
-        return self.out(states[:, -1])
+        return self.out(states[:, 0])
""", (Event(1, "forward", "Reader.out", "addmm", "out"),), "forward-op", unseen=True),

    Bug("average-pooling", "", "the mean of each window instead of its largest value", "conv", """
-        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
+        x = F.avg_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
""", (Event(1, "forward", "Net", "max_pool2d*|avg_pool2d*", "*"),), "forward-op", unseen=True),

    Bug("more-dropout", "", "a dropout with twice the probability", "gpt", """
-        self.drop = nn.Dropout(0.1)
-        self.h = nn.ModuleList([Block() for _ in range(LAYERS)])
+        self.drop = nn.Dropout(0.2)
+        self.h = nn.ModuleList([Block() for _ in range(LAYERS)])
""", (Event(1, kind="draw"), Event(1, "forward", "GPT.drop")), "forward-op", unseen=True),

    Bug("wrong-column-of-the-loss", "", "the chance of the next class is taken", "handmade", """
-        loss = -chances[torch.arange(10), labels].log().mean()
+        loss = -chances[torch.arange(10), (labels + 1) % CLASSES].log().mean()
""", (Event(1, "forward|loss", "", "add|remainder|index", "*"),), "loss-target", unseen=True),

    Bug("never-in-training-mode", "", "training begins in evaluation mode", "gpt", """
-    losses = []
-    for step in range(STEPS):
+    losses = []
+    model.eval()
+    for step in range(STEPS):
""", (Event(1, path="GPT", slot="training", kind="mode"),), "mode-flag", unseen=True),

    Bug("noise-from-the-order", "", "noise is drawn from the generator of the order", "noise", """
-        noisy = clean + 0.1 * torch.randn(clean.shape, generator=jitter)
+        noisy = clean + 0.1 * torch.randn(clean.shape, generator=order)
""", (Event(0, kind="draw"),), "rng-offset", unseen=True),

    Bug("schedule-steps-twice", "", "the schedule makes two steps for each update", "gpt", """
-        schedule.step()
+        schedule.step()
+        schedule.step()
""", (Event(2, slot="lr"), Event(2, "schedule"), Event(1, "schedule")), "schedule", unseen=True),

    Bug("clipping-by-the-largest", "", "gradients are clipped by their largest element", "gpt", """
-        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
+        nn.utils.clip_grad_norm_(model.parameters(), 1.0, norm_type=float("inf"))
""", (Event(1, "optimizer", "clip"), Event(1, path="clip")), "clipping", unseen=True),

    Bug("betas-exchanged", "", "the decay rates of the two moments are exchanged", "gpt", """
-    return torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
+    return torch.optim.AdamW(groups, lr=1e-2, betas=(0.95, 0.9), eps=1e-8)
""", (Event(1, "optimizer", "optimizer0*", slot="betas*"),
      Event(1, "optimizer", "*", "adamw", "param|exp_avg*")), "optimizer-formula", unseen=True),

    Bug("one-group-keeps-its-gradients", "", "gradients of one group are never set to zero", "gpt", """
-        optimizer.zero_grad()
+        for p in optimizer.param_groups[0]["params"]:
+            p.grad = None
""", (Event(2, "backward", "*bias|*ln*", slot="grad"), Event(2, "backward", op="add*|zero_grad"),
      Event(1, op="zero_grad")), "grad-accumulation", unseen=True),

    Bug("model-in-double", "", "the model computes in float64", "noise", """
-    data = torch.randn(ROWS, FEATURES, generator=table)
+    model.double(), target.double()
+    data = torch.randn(ROWS, FEATURES, generator=table).double()
""", (Event(0, "init", op="_to_copy"), Event(0, "init", slot="param")), "precision-cast", unseen=True),

    Bug("average-loaded-as-model", "", "the moving average is loaded where the model was meant", "resume",
        """
-        self.model.load_state_dict(checkpoint["model"])
+        self.model.load_state_dict(checkpoint["average"])
""", (Event(4, "checkpoint"), Event(4, op="copy_"), Event(4, "forward", "Net*")), "checkpoint-resume",
        unseen=True),

    Bug("divided-by-the-batch", "", "reduced gradients are divided by rows, not by ranks", "parallel", """
-        parameter.grad /= WORLD
+        parameter.grad /= BATCH
""", (Event(1, op="div_"), Event(1, "backward", slot="grad")), "collective", unseen=True),
]

CLEANS = [
    Clean("targets-rolled", "loss-target", "targets by rolling, which gives the same", "gpt", """
-    targets = batch[:, 1:]
+    targets = batch.roll(-1, 1)[:, :-1]
"""),

    Clean("heads-by-einsum", "forward-op", "the values are weighed by einsum, in the same order", "gpt", """
-        y = weights @ v
+        y = torch.einsum("bhqk,bhkd->bhqd", weights, v)
"""),

    Clean("seeded-twice-alike", "rng-seed", "the seed is set once more before anything draws", "noise",
          """
-    torch.manual_seed(81)
+    torch.manual_seed(81)
+    torch.manual_seed(81)
"""),
]
