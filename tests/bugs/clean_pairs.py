# SPDX-License-Identifier: Apache-2.0
"""Legal neighbours: changes of the same places that change no bit of training."""

from case import Clean

CLEANS = [
    Clean("same-program-twice", "nondeterminism", "nothing is changed", "gpt", "", quick=True),

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
""", quick=True),

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
]
