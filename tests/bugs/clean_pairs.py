# SPDX-License-Identifier: Apache-2.0
"""Legal neighbours: changes of the same places that change no bit of training."""

from case import Clean

PROGRAMS = ("accumulate", "conv", "folder", "half", "handmade", "large", "noise", "parallel", "resume",
            "rope", "tabular", "wrapped")

CLEANS = [
    Clean(f"{program}-twice", "nondeterminism", "nothing is changed", program, "")
    for program in PROGRAMS] + [
    Clean("gpt-twice", "nondeterminism", "nothing is changed", "gpt", "", quick=True),

    Clean("mask-of-minus-1e9", "mask-bias-too-small", "a bias that softmax makes zero, as -inf", "gpt", """
-        scores = scores.masked_fill(~past, float("-inf"))
+        scores = scores.masked_fill(~past, -1e9)
"""),

    Clean("scale-named", "attention-scale-of-model-width", "the same divisor under another name",
          "gpt", """
-        scores = scores / math.sqrt(dim // HEADS)
+        width = dim // HEADS
+        root = math.sqrt(width)
+        scores = scores / root
""", quick=True),

    Clean("zero-grad-earlier", "zero-grad-missing", "gradients are set to zero before the loss", "gpt",
          """
-        loss = loss_of(model, batch)
         optimizer.zero_grad()
+        loss = loss_of(model, batch)
         loss.backward()
"""),

    Clean("zero-grad-of-the-model", "zero-grad-missing", "the model sets its gradients to zero itself",
          "gpt", """
-        optimizer.zero_grad()
+        model.zero_grad()
"""),

    Clean("more-evaluation", "eval-missing", "evaluation after every step", "gpt", """
-        if step % 3 == 2:
+        if step >= 0:
""", quick=True),

    Clean("evaluation-with-gradients", "eval-missing", "the evaluation forgets no_grad()", "gpt", """
-    with torch.no_grad():
-        loss = loss_of(model, rows).item()
+    loss = loss_of(model, rows).item()
"""),

    Clean("logging-with-a-private-generator", "extra-draw-for-logging",
          "logging draws from a generator of its own", "gpt", """
-        losses.append(loss.item())
+        losses.append(loss.item())
+        if step == 2:
+            own = torch.Generator().manual_seed(0)
+            print("sampled", torch.randint(5, (3,), generator=own).tolist())
""", quick=True),

    Clean("gradient-norm-logged", "clipping-missing", "the norm that clipping found is printed", "gpt",
          """
-        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
+        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
+        print("norm", norm.item(), "largest", max(p.grad.abs().max() for p in model.parameters()))
"""),

    Clean("more-prefetching", "worker-seed-copied", "workers fetch more batches ahead", "conv", """
-                        worker_init_fn=start_worker, generator=torch.Generator().manual_seed(4))
+                        worker_init_fn=start_worker, generator=torch.Generator().manual_seed(4),
+                        prefetch_factor=4)
"""),

    Clean("no-sync-around-backward-alone", "synchronization-left-out",
          "no_sync() that begins behind the forward pass has no effect", "wrapped", """
-            loss.backward()
+            with model.no_sync():
+                loss.backward()
"""),

    Clean("modules-renamed", "gelu-variant", "functional activation for the module", "gpt", """
-        return x + self.out(self.act(self.fc(self.ln2(x))))
+        return x + self.out(F.gelu(self.fc(self.ln2(x))))
"""),

    Clean("ignored-targets-marked-otherwise", "padding-in-the-loss",
          "padding is ignored by another number", "gpt", """
-    targets = batch[:, 1:]
-    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD)
+    targets = batch[:, 1:].masked_fill(batch[:, 1:] == PAD, -100)
+    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
"""),

    Clean("comment-and-dead-code", "code", "a comment, a function that nobody calls", "rope", """
+# A comment.
 def rotation(time):
@@
+def unused(x):
+    return x + 1
+
+
 def main():
"""),

    Clean("argument-spelled-otherwise", "config", "the same value, spelled otherwise", "tabular", "",
          arguments=(("--lr", "0.01"), ("--lr=1e-2",)), quick=True),

    Clean("threads-that-nothing-uses", "environment", "two threads, and no sum long enough for them",
          "tabular", "", environment=(("OMP_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "2"))),

    Clean("hash-seed-that-nothing-uses", "environment", "another hash seed, and no set", "tabular", "",
          environment=(("PYTHONHASHSEED", "1"), ("PYTHONHASHSEED", "2"))),

    Clean("threads-in-order", "terms-as-threads-finish", "threads finish as they like, terms do not",
          "large", "", both="""
         loss = 0.0
-        for name in NAMES:
+        pool = concurrent.futures.ThreadPoolExecutor(8)
+        for future in [pool.submit(done, name) for name in NAMES]:
+            name = future.result()
"""),

    Clean("generator-seeded-later", "data-order", "the sampler's generator is seeded on a line of its own",
          "folder", """
-    loader = DataLoader(data, batch_size=4, shuffle=True,
-                        generator=torch.Generator().manual_seed(93))
+    own = torch.Generator()
+    own.manual_seed(93)
+    loader = DataLoader(data, batch_size=4, shuffle=True, generator=own)
"""),

    Clean("nothing-to-drop", "last-batch-kept", "the last batch is dropped if it is short, and none is",
          "folder", """
-    loader = DataLoader(data, batch_size=4, shuffle=True,
+    loader = DataLoader(data, batch_size=4, shuffle=True, drop_last=True,
"""),

    Clean("listing-read-twice", "listing-not-sorted", "the folder is listed once more", "folder", """
-        self.names = sorted(os.listdir(folder))
+        print(len(os.listdir(folder)), "files")
+        self.names = sorted(os.listdir(folder))
"""),

    Clean("pixels-scaled-ahead", "data-content", "pixels are divided by 255 when they are made", "conv",
          """
-        image = self.pixels[i].astype(numpy.float32) / 255
+        image = self.scaled[i]
@@
         self.augment = augment
+        self.scaled = self.pixels.astype(numpy.float32) / 255
"""),

    Clean("unused-seed", "rng-seed", "Python's generator is seeded too, and nobody draws", "rope", """
-    torch.manual_seed(31)
+    import random
+    random.seed(31)
+    torch.manual_seed(31)
"""),

    Clean("dropout-of-nothing", "rng-offset", "a dropout with probability 0", "tabular", """
-        x = F.relu(self.first(x))
+        x = F.dropout(F.relu(self.first(x)), 0.0, self.training)
"""),

    Clean("draw-with-state-put-back", "rng-key-reuse", "a draw, and the generator is put back", "gpt", """
         losses.append(loss.item())
+        with torch.random.fork_rng(devices=[]):
+            print("sampled", torch.randperm(5).tolist())
"""),

    Clean("zeros-by-another-call", "init", "a bias that is set to zero by another call", "noise", """
-        nn.init.zeros_(self.decode.bias)
+        self.decode.bias.data.fill_(0.0)
""", both="""
         self.decode = nn.Linear(LATENT, FEATURES)
+        nn.init.zeros_(self.decode.bias)
"""),

    Clean("train-called-often", "mode-flag", "train() before every step", "gpt", """
         batch = rows[torch.randint(len(rows), (6,), generator=generator)]
+        model.train()
"""),

    Clean("scale-on-the-queries", "attention-scale-of-model-width",
          "the scale, a power of two, on the queries instead of the scores", "rope", """
-        scores = q @ k.transpose(-2, -1) * WIDTH ** -0.5
+        scores = (q * WIDTH ** -0.5) @ k.transpose(-2, -1)
"""),

    Clean("mask-by-comparison", "mask-or-position", "the same mask, made by comparing positions", "gpt",
          """
-        past = torch.ones(time, time, dtype=torch.bool).tril()
+        place = torch.arange(time)
+        past = place[:, None] >= place
"""),

    Clean("mean-as-sum", "loss-normalization", "the mean as a sum, divided by its terms", "tabular", """
-            loss = F.cross_entropy(model(features), labels)
+            loss = F.cross_entropy(model(features), labels, reduction="sum") / len(labels)
"""),

    Clean("constant-detached", "backward-op", "what has no gradient is detached", "noise", """
-        loss = F.mse_loss(out, clean) + 0.3 * F.mse_loss(out, wanted)
+        loss = F.mse_loss(out, clean.detach()) + 0.3 * F.mse_loss(out, wanted.detach())
"""),

    Clean("gradients-dropped-not-zeroed", "grad-accumulation", "gradients are dropped instead of zeroed",
          "accumulate", """
-        optimizer.zero_grad()
+        optimizer.zero_grad(set_to_none=True)
"""),

    Clean("metric-reduced", "collective", "the loss is reduced too, for a log", "parallel", """
         losses.append(loss.item())
+        shown = loss.detach().clone()
+        dist.all_reduce(shown)
+        print("mean", shown.item() / WORLD)
"""),

    Clean("clipping-that-never-acts", "clipping", "a limit that no norm reaches", "tabular", """
             loss.backward()
+            nn.utils.clip_grad_norm_(model.parameters(), 1e9)
"""),

    Clean("group-in-two", "optimizer-formula", "one group of parameters as two with equal settings",
          "noise", """
-    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
+    every = list(model.parameters())
+    optimizer = torch.optim.SGD([{"params": every[:3]}, {"params": every[3:]}], lr=0.05)
"""),

    Clean("schedule-by-hand", "schedule", "the same learning rates, set by hand", "gpt", """
-    schedule = torch.optim.lr_scheduler.LambdaLR(
-        optimizer, lambda step: factor(step, WARMUP, STEPS))
@@
-        optimizer.zero_grad()
+        for group in optimizer.param_groups:
+            group["lr"] = 1e-2 * factor(step, WARMUP, STEPS)
+        optimizer.zero_grad()
@@
-        schedule.step()
"""),

    Clean("wider-and-back", "precision-cast", "a cast to float64 and back", "rope", """
-        y = self.norm2(x)
+        y = self.norm2(x).double().float()
"""),

    Clean("tied-by-hand", "aliasing-or-tying", "the embedding's weights are used instead of tied",
          "gpt", """
-        return self.head(self.ln_f(x))
+        return F.linear(self.ln_f(x), self.wte.weight)
"""),

    Clean("copied-once-more", "aliasing-or-tying", "the best weights are copied twice", "noise", """
-            best, kept = losses[-1], copy.deepcopy(model.state_dict())
+            best, kept = losses[-1], copy.deepcopy(copy.deepcopy(model.state_dict()))
"""),

    Clean("saved-more-often", "checkpoint-resume", "a checkpoint after every step", "resume", """
-    losses = [training.step(x, y) for _ in range(INTERRUPT)]
+    losses = []
+    for step in range(INTERRUPT):
+        losses.append(training.step(x, y))
+        training.save(f"step{step}.pt")
"""),

    Clean("interrupted-elsewhere", "checkpoint-resume", "interrupted one step later", "resume", """
-ROWS, FEATURES, BATCH, STEPS, INTERRUPT = 48, 5, 6, 6, 3
+ROWS, FEATURES, BATCH, STEPS, INTERRUPT = 48, 5, 6, 6, 4
"""),

    Clean("validation-scaled-apart", "evaluation-leak", "the validation is scaled by itself, by what the "
          "training rows show", "tabular", """
-    x = (x - mean) / deviation
+    scaled = (x - mean) / deviation
+    x = torch.empty_like(x)
+    x[train], x[held_out] = scaled[train], scaled[held_out]
"""),

    Clean("engine-threads", "bit-flip", "two threads instead of one", "engine gpt.json", "--threads 2",
          both="--steps 3", quick=True),

    Clean("engine-kernels-told", "environment", "kernels that promise no order of sums",
          "engine mlp.json", "--kernels openblas", both="--steps 6 --threads 1", verdict="rounding"),

    Clean("engine-evaluates-more", "config", "evaluation after every step", "engine mlp.json",
          "--set eval.every=1", both="--steps 6"),

    Clean("rows-as-a-list", "rows-in-order", "rows are picked by a list of numbers", "noise", """
-        rows = torch.randperm(ROWS, generator=order)[:10]
+        rows = torch.randperm(ROWS, generator=order).tolist()[:10]
"""),

    Clean("mean-by-its-name", "divergence-averaged", "the mean of the loss by the function", "noise", """
-    return -0.5 * (1 + spread - mean.pow(2) - spread.exp()).sum(1).mean()
+    return torch.mean(torch.sum(1 + spread - mean.pow(2) - spread.exp(), 1) * -0.5)
"""),
]
