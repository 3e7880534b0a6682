# SPDX-License-Identifier: Apache-2.0
"""Mechanisms in the forward pass: scales, masks, positions, eps, activations, layouts."""

from case import Bug, Event

ATTENTION = "GPT.h.0.attn"


def forward(path, op, slot="out", step=1):
    return (Event(step, "forward", path, op, slot),)


BUGS = [
    Bug("attention-scale-of-model-width", "lucidrains/vit-pytorch#65",
        "attention scores divided by the root of the model's width, not of a head's",
        "gpt", """
-        scores = scores / math.sqrt(dim // HEADS)
+        scores = scores / math.sqrt(dim)
""", forward(ATTENTION, "div"), "forward-op", quick=True),

    Bug("attention-scale-missing", "mlc-llm PR#3426", "attention scores are not scaled at all",
        "gpt", """
-        scores = scores / math.sqrt(dim // HEADS)
""", forward(ATTENTION, "div|masked_fill"), "forward-op"),

    Bug("causal-mask-missing", "transformers#48745", "a decoder attends to the future",
        "gpt", """
-        past = torch.ones(time, time, dtype=torch.bool).tril()
-        scores = scores.masked_fill(~past, float("-inf"))
""", forward(ATTENTION, "ones|tril|bitwise_not|masked_fill|_softmax", "*"), "mask-or-position"),

    Bug("causal-mask-off-by-one", "transformers#39408 (the same slip at a window's edge)",
        "the mask lets each position see the next one", "gpt", """
-        past = torch.ones(time, time, dtype=torch.bool).tril()
+        past = torch.ones(time, time, dtype=torch.bool).tril(1)
""", forward(ATTENTION, "tril"), "mask-or-position", quick=True),

    Bug("mask-bias-too-small", "transformers PR#17306 (the class)",
        "masked scores get a finite bias that leaks", "gpt", """
-        scores = scores.masked_fill(~past, float("-inf"))
+        scores = scores.masked_fill(~past, -5.0)
""", forward(ATTENTION, "masked_fill"), "mask-or-position"),

    Bug("layernorm-eps", "transformers PR#15332", "layer normalization with another eps", "gpt", """
-        self.ln_f = nn.LayerNorm(DIM)
+        self.ln_f = nn.LayerNorm(DIM, eps=1e-12)
""", forward("GPT.ln_f", "native_layer_norm", "out|out2"), "forward-op"),

    Bug("gelu-variant", "", "the tanh approximation of GELU instead of the exact function", "gpt", """
-        self.act = nn.GELU()
+        self.act = nn.GELU(approximate="tanh")
""", forward("GPT.h.0.act", "gelu"), "forward-op"),

    Bug("softmax-over-queries", "", "softmax over the queries instead of the keys", "gpt", """
-        weights = self.drop(scores.softmax(-1))
+        weights = self.drop(scores.softmax(-2).nan_to_num())
""", forward(ATTENTION, "_softmax"), "forward-op"),

    Bug("heads-not-transposed-back", "", "heads are flattened without being transposed back", "gpt",
        """
-        return self.proj(y.transpose(1, 2).reshape(batch, time, dim))
+        return self.proj(y.reshape(batch, time, dim))
""", (Event(1, "forward", ATTENTION, "clone|addmm", "*"),
      Event(1, "forward", ATTENTION + ".proj", "*", "*")), "forward-op"),

    Bug("positions-from-one", "", "positions count from 1", "gpt", """
-        positions = torch.arange(tokens.shape[1])
+        positions = torch.arange(1, tokens.shape[1] + 1)
""", forward("GPT", "arange"), "mask-or-position"),

    Bug("final-norm-missing", "", "the last layer normalization is left out", "gpt", """
-        return self.head(self.ln_f(x))
+        return self.head(x)
""", (Event(1, "forward", "GPT.ln_f", "native_layer_norm", "*"),
      Event(1, "forward", "GPT.head", "*", "*")), "forward-op"),

    Bug("double-softmax", "tflearn PR#562", "softmax before a loss that has its own", "tabular", """
-            loss = F.cross_entropy(model(features), labels)
+            loss = F.cross_entropy(model(features).softmax(1), labels)
""", (Event(1, "forward", "*", "_softmax", "out"), Event(1, "forward", "*", "_log_softmax", "out")),
        "forward-op"),

    Bug("activation-missing", "", "no activation between two layers", "tabular", """
-        x = self.drop(F.relu(self.second(x)))
+        x = self.drop(self.second(x))
""", (Event(1, "forward", "Classifier", "relu", "out"),
      Event(1, "forward", "Classifier.drop", "*", "*")), "forward-op"),

    Bug("queries-and-keys-exchanged", "", "keys are held against queries, not queries against keys",
        "gpt", """
-        scores = q @ k.transpose(-2, -1)
+        scores = k @ q.transpose(-2, -1)
""", (Event(1, "forward", "GPT.h.0.attn", "bmm|clone|expand"),), "forward-op"),
]
