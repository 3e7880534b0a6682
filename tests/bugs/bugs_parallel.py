# SPDX-License-Identifier: Apache-2.0
"""Mechanisms of several processes and of images: collectives, shards, batch normalization."""

from case import FIRST_BATCH, Bug, Event

COMM = (Event(1, "comm"), Event(1, kind="collective"))

BUGS = [
    Bug("norm-not-reduced", "Megatron-LM#1446", "gradients of the normalization stay local",
        "parallel", """
-    for parameter in model.parameters():
+    for name, parameter in model.named_parameters():
+        if "norm" in name:
+            continue
         dist.all_reduce(parameter.grad)
""", COMM + (Event(1, op="div_"), Event(1, "backward", "Net.norm*", slot="grad")), "collective"),

    Bug("reduced-twice", "Megatron-LM#7452", "one gradient is reduced twice", "parallel", """
-        dist.all_reduce(parameter.grad)
+        dist.all_reduce(parameter.grad)
+        if parameter.dim() == 1:
+            dist.all_reduce(parameter.grad)
""", COMM + (Event(1, op="div_"), Event(1, "backward", "Net.*", slot="grad")), "collective"),

    Bug("sum-for-mean", "SpecForge PR#663 (the class)", "gradients are summed over ranks", "parallel",
        """
-        parameter.grad /= WORLD
""", (Event(1, op="div_"), Event(1, "backward", slot="grad")), "collective"),

    Bug("clipping-on-one-rank", "DeepSpeed PR#1801 (the run of BLOOM-176B)",
        "one rank clips and the other does not", "parallel", """
-        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
+        if rank != 0:
+            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
""", (Event(1, "optimizer", "clip"), Event(1, path="clip")), "clipping"),

    Bug("not-broadcast", "", "ranks begin with weights of their own", "parallel", """
-    for parameter in model.parameters():
-        dist.broadcast(parameter.data, 0)
""", (Event(0, "comm"), Event(0, kind="collective"), Event(1, "comm"), Event(1, op="div_")),
        "collective", both="""
-    torch.manual_seed(61)
+    torch.manual_seed(61 + rank)
"""),

    Bug("synchronization-left-out", "pytorch#104336 (the class)",
        "gradients are not synchronized", "wrapped", """
-            loss = F.mse_loss(model(features), target)
-            loss.backward()
+            with model.no_sync():
+                loss = F.mse_loss(model(features), target)
+                loss.backward()
""", COMM + (Event(1, "backward"),), "collective"),

    Bug("distributed-order-repeats", "AReaL PR#632", "set_epoch is never called", "wrapped", """
-        sampler.set_epoch(epoch)
""", (Event(3, kind="sample|draw"),), "data-order"),

    Bug("every-rank-reads-everything", "", "the sampler knows of no other rank", "wrapped", """
-    sampler = DistributedSampler(data, WORLD, rank, shuffle=True, seed=73)
+    sampler = DistributedSampler(data, 1, 0, shuffle=True, seed=73)
""", (Event(FIRST_BATCH, kind="sample|draw"), Event(FIRST_BATCH, op="stack")), "sample-duplicated-or-missing"),

    Bug("batchnorm-momentum", "pix2pix-tensorflow#126", "momentum as the other framework means it", "conv",
        """
-        self.bn1 = nn.BatchNorm2d(6)
+        self.bn1 = nn.BatchNorm2d(6, momentum=0.9)
""", (Event(1, "*", "Net.bn1*", slot="buffer"), Event(1, "forward", "Net.bn1")), "forward-op"),

    Bug("batchnorm-frozen", "", "a batch normalization stays in evaluation mode", "conv", """
     for _ in range(EPOCHS):
+        model.bn1.eval()
""", (Event(1, "forward", "Net.bn1*"),), "mode-flag"),

    Bug("zero-grad-behind-backward", "wekws PR#73 (the class)",
        "gradients are set to zero between backward and update", "accumulate", """
-        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
+        optimizer.zero_grad(set_to_none=False)
+        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
""", (Event(1, op="zero_*"), Event(1, "optimizer", "clip"), Event(1, "backward", slot="grad")),
        "grad-accumulation"),

    Bug("clipping-by-value", "", "each element is clipped instead of the norm", "accumulate", """
-        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
+        nn.utils.clip_grad_value_(model.parameters(), 0.5)
""", (Event(1, "optimizer", "clip"), Event(1, path="clip"), Event(1, "backward", slot="grad")),
        "clipping"),
]
