# SPDX-License-Identifier: Apache-2.0
"""Mechanisms in loss, accumulation, clipping, optimizer and schedule."""

from case import FIRST_BATCH, Bug, Event

BUGS = [
    Bug("mean-of-means", "transformers PR#34191",
        "the loss of a step is the mean of its micro-batches' means", "accumulate", """
-            loss = F.cross_entropy(scores.flatten(0, 1), tags.flatten(), reduction="sum")
-            loss = loss / total
+            loss = F.cross_entropy(scores.flatten(0, 1), tags.flatten())
+            loss = loss / MICRO
""", (Event(1, "forward|loss", op="nll_loss_forward|div"), Event(1, "loss", slot="loss")),
        "loss-normalization", quick=True),

    Bug("not-divided-by-accumulation", "open-instruct PR#1161",
        "micro-batches' means are summed, not averaged", "accumulate", """
-            loss = loss / MICRO
""", (Event(1, "forward|loss", op="div"), Event(1, "loss", slot="loss"),
      Event(1, "backward", op="div|ones_like|nll_loss_backward")), "loss-normalization", both="""
-            loss = F.cross_entropy(scores.flatten(0, 1), tags.flatten(), reduction="sum")
-            loss = loss / total
+            loss = F.cross_entropy(scores.flatten(0, 1), tags.flatten())
+            loss = loss / MICRO
"""),

    Bug("divided-by-sequences", "OpenNMT-py PR#526", "divided by sequences where tokens were meant",
        "accumulate", """
-            loss = loss / total
+            loss = loss / (MICRO * len(tokens))
""", (Event(1, "forward|loss", op="div"),), "loss-normalization"),

    Bug("zero-grad-missing", "pytorch#47175 (the class)", "gradients are never set to zero", "gpt",
        """
-        optimizer.zero_grad()
""", (Event(1, op="zero_grad"), Event(2, op="zero_grad"), Event(2, "backward", slot="grad"),
      Event(2, "backward", op="add*")), "grad-accumulation", quick=True),

    Bug("only-last-micro-batch", "", "gradients are set to zero before every micro-batch",
        "accumulate", """
-            loss.backward()
+            optimizer.zero_grad()
+            loss.backward()
""", (Event(1, op="zero_grad"), Event(1, "backward", slot="grad"),
      Event(1, "backward", op="add*")), "grad-accumulation"),

    Bug("labels-shifted-twice", "transformers PR#46898", "labels are shifted once more in the loss",
        "gpt", """
-    targets = batch[:, 1:]
-    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD)
+    targets = batch[:, 2:]
+    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=PAD)
""", (Event(1, "forward|loss", op="clone|_log_softmax|nll_loss_forward", slot="*"),), "loss-target"),

    Bug("labels-not-shifted", "transformers#27517", "each position is asked for its own token", "gpt",
        """
-    targets = batch[:, 1:]
+    targets = batch[:, :-1]
""", (Event(1, "forward|loss", op="clone|nll_loss_forward", slot="*"),), "loss-target", quick=True),

    Bug("padding-in-the-loss", "", "padding is trained on", "gpt", """
-    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD)
+    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
""", (Event(1, "forward|loss", op="nll_loss_forward"),), "loss-target"),

    Bug("end-masked-as-padding", "transformers#23530", "the end of a sequence is taken for padding",
        "gpt", """
-    targets = batch[:, 1:]
+    targets = batch[:, 1:].masked_fill(batch[:, 1:] == EOS, PAD)
""", (Event(1, "forward|loss", op="eq|masked_fill|clone|nll_loss_forward", slot="*"),),
        "loss-target"),

    Bug("clipping-missing", "", "gradients are not clipped", "gpt", """
-        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
""", (Event(1, "optimizer", "clip"), Event(1, path="clip")), "clipping", quick=True),

    Bug("clipping-limit", "hyper-parallel#279 (the class)", "gradients are clipped to another norm",
        "gpt", """
-        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
+        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
""", (Event(1, "optimizer", "clip"), Event(1, path="clip"), Event(1, "backward", slot="grad")),
        "clipping"),

    Bug("norms-decayed", "transformers PR#35927", "normalization and biases are decayed too", "gpt", """
-    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
+    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.1}]
""", (Event(1, "optimizer", "optimizer0.group1", slot="weight_decay"),
      Event(1, "optimizer", "*.ln*|*bias", slot="param")), "optimizer-formula", quick=True),

    Bug("adam-for-adamw", "nntrainer PR#3565", "decay in the gradient instead of beside it", "gpt", """
-    return torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
+    return torch.optim.Adam(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
""", (Event(1, "optimizer", "*", "*adam*", "param|exp_avg*"),
      Event(0, op="adam*", slot="held by *")), "optimizer-formula"),

    Bug("warmup-peak-quartered", "transformers#18436", "warm-up ends at a quarter of the rate", "gpt",
        """
-        return (step + 1) / warmup
+        return (step + 1) / (4 * warmup)
""", (Event(1, slot="lr"),), "schedule"),

    Bug("warmup-and-total-swapped", "cross-doc#1", "warm-up and total are swapped", "gpt", """
-        optimizer, lambda step: factor(step, WARMUP, STEPS))
+        optimizer, lambda step: factor(step, STEPS, WARMUP))
""", (Event(1, slot="lr"),), "schedule", quick=True),

    Bug("schedule-one-step-early", "pytorch#60265", "the schedule makes a step before the first update",
        "gpt", """
-    generator = torch.Generator().manual_seed(7)
-    rows = sequences(48, generator)
+    schedule.step()
+    generator = torch.Generator().manual_seed(7)
+    rows = sequences(48, generator)
""", (Event(1, slot="lr"), Event(0, "schedule")), "schedule"),

    Bug("layer-not-in-optimizer", "pytorch-forum-84911",
        "a block's parameters are never given to the optimizer", "gpt", """
-    matrices = [p for p in model.parameters() if p.dim() >= 2]
+    matrices = [p for n, p in model.named_parameters() if p.dim() >= 2 and "h.1." not in n]
""", (Event(1, "optimizer", "GPT.h.1.*", slot="param"), Event(1, "backward", "GPT.h.1.*", slot="grad"),
      Event(0, "init", "GPT.h.1.*", slot="held by *")), "optimizer-formula"),

    Bug("tied-weights-untied", "lingua PR#75", "output and embedding no longer share their weights",
        "gpt", """
-        self.head.weight = self.wte.weight
+        self.head.weight = nn.Parameter(self.wte.weight.detach().clone())
""", (Event(0, "init", "GPT.head.weight"), Event(0, "init", "*", "clone|detach")),
        "aliasing-or-tying", quick=True),

    Bug("divergence-averaged", "", "a term of the loss is a mean over its dimensions, not a sum",
        "noise", """
-    return -0.5 * (1 + spread - mean.pow(2) - spread.exp()).sum(1).mean()
+    return -0.5 * (1 + spread - mean.pow(2) - spread.exp()).mean(1).mean()
""", (Event(1, "forward", "*", "sum|mean"),), "loss-normalization"),

    Bug("rows-in-order", "", "the rows of a batch are sorted", "noise", """
-        rows = torch.randperm(ROWS, generator=order)[:10]
+        rows = torch.randperm(ROWS, generator=order)[:10].sort()[0]
""", (Event(FIRST_BATCH, op="sort|index"),), "data-order"),
]
