# SPDX-License-Identifier: Apache-2.0
"""Mechanisms in rotary positions, windows, grouped queries, and in narrow number formats."""

from case import Bug, Event

ATTENTION = "Decoder.layers.0.attn"


def forward(path, op, slot="*", step=1):
    return (Event(step, "forward", path, op, slot),)


BUGS = [
    Bug("rotary-angles-in-bf16", "transformers PR#29285", "angles of rotary positions in bfloat16",
        "rope", """
-    angles = torch.outer(positions, frequencies)
+    angles = torch.outer(positions.bfloat16(), frequencies.bfloat16()).float()
""", forward("Decoder", "_to_copy|mul|cat"), "precision-cast", quick=True),

    Bug("rotary-frequencies-in-bf16", "gpt-neox PR#1016", "a cast of the model takes a buffer along",
        "rope", """
-    positions = torch.arange(time).float()
+    frequencies = frequencies.bfloat16().float()
+    positions = torch.arange(time).float()
""", forward("Decoder", "_to_copy|mul"), "precision-cast"),

    Bug("softmax-in-bf16", "", "softmax in bfloat16", "rope", """
-        weights = scores.softmax(-1)
+        weights = scores.bfloat16().softmax(-1).float()
""", forward(ATTENTION, "_to_copy|_softmax"), "precision-cast"),

    Bug("window-off-by-one", "transformers#39408", "a sliding window is one position too wide", "rope",
        """
-        seen = (distance >= 0) & (distance < WINDOW)
+        seen = (distance >= 0) & (distance <= WINDOW)
""", forward(ATTENTION, "lt|le|bitwise_and"), "mask-or-position"),

    Bug("window-dropped", "transformers#35924", "the sliding window is not applied", "rope", """
-        seen = (distance >= 0) & (distance < WINDOW)
+        seen = distance >= 0
""", forward(ATTENTION, "lt|bitwise_and|bitwise_not"), "mask-or-position"),

    Bug("rms-eps", "candle PR#271", "root-mean-square normalization with another eps", "rope", """
-        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)
+        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-2)
""", forward("Decoder.layers.0.norm1", "add"), "forward-op"),

    Bug("groups-repeated-in-the-wrong-order", "", "key heads are tiled instead of repeated", "rope", """
-        k = k.repeat_interleave(HEADS // GROUPS, 1)
+        k = k.repeat(1, HEADS // GROUPS, 1, 1)
""", forward(ATTENTION, "*"), "forward-op"),

    Bug("cap-ignored", "transformers (Gemma 2 with SDPA)", "the cap of the logits is not applied",
        "rope", """
-        return 8.0 * torch.tanh(logits / 8.0)
+        return logits
""", forward("Decoder", "div|tanh|mul") + forward("", "_log_softmax"), "forward-op"),

    Bug("master-weights-rounded", "OpenTau#185 (the class)",
        "master weights are made again from the bfloat16 copy", "half", """
             low.data.copy_(high.data)
-        losses.append(loss.item())
+            high.data.copy_(low.data)
+        losses.append(loss.item())
""", (Event(2, "*", "*", "copy_|_to_copy", "*"), Event(2, "optimizer", slot="param")),
        "precision-cast"),

    Bug("master-weights-in-bf16", "ml-by-hand PR#85", "updates are lost in bfloat16 weights", "half", """
-    master = Net()
+    master = Net().bfloat16()
@@
-            high.grad = low.grad.float()
+            high.grad = low.grad.clone()
""", (Event(0, "init", op="_to_copy|copy_"), Event(0, "init", slot="param")), "precision-cast"),

    Bug("loss-in-bf16", "", "the loss is computed in bfloat16", "half", """
-        loss = F.cross_entropy(logits.float(), y)
+        loss = F.cross_entropy(logits, y)
""", forward("", "_to_copy|_log_softmax"), "precision-cast"),

    Bug("clipped-before-unscaling", "", "gradients are clipped while they are scaled", "half", """
-            high.grad /= SCALE
-        nn.utils.clip_grad_norm_(master.parameters(), 1.0)
+        nn.utils.clip_grad_norm_(master.parameters(), 1.0)
+        for high in master.parameters():
+            high.grad /= SCALE
""", (Event(1, "optimizer", "clip"), Event(1, "*", "*", "div_"), Event(1, path="clip")), "clipping"),

    Bug("never-unscaled", "", "gradients stay scaled", "half", """
-            high.grad /= SCALE
""", (Event(1, "*", "*", "div_"), Event(1, "backward", slot="grad"), Event(1, path="clip")),
        "loss-normalization"),
]
