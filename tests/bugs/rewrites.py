# SPDX-License-Identifier: Apache-2.0
"""Legal rewrites: the same mathematics, other roundings. Bits differ, so a diff of one framework says
so, and its cause is rounding; asked for --rounding, it says that nothing is wrong."""

from dataclasses import replace

from case import Clean


def rewrite(name, what, program, change, **more):
    return Clean(name, "rounding", what, program, change, verdict="differ", cause="rounding", **more)


BITWISE = [
    rewrite("mean-by-a-factor", "a mean as a sum times the reciprocal of its count", "accumulate", """
-            loss = loss / total
+            loss = loss * (1.0 / total)
"""),

    rewrite("layernorm-by-hand", "a layer normalization in single ops", "gpt", """
-        return self.head(self.ln_f(x))
+        centred = x - x.mean(-1, keepdim=True)
+        scale = torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + self.ln_f.eps)
+        return self.head(centred * scale * self.ln_f.weight + self.ln_f.bias)
"""),

    rewrite("product-in-two-halves", "a product over two halves of its inner dimension, added", "gpt", """
-        return x + self.out(self.act(self.fc(self.ln2(x))))
+        y = self.act(self.fc(self.ln2(x)))
+        half = 2 * DIM
+        left = y[..., :half] @ self.out.weight[:, :half].T
+        return x + (left + y[..., half:] @ self.out.weight[:, half:].T + self.out.bias)
"""),

    rewrite("softmax-by-its-logarithm", "softmax as the exponential of log-softmax", "rope", """
-        weights = scores.softmax(-1)
+        weights = scores.log_softmax(-1).exp()
"""),

    rewrite("scale-of-the-keys", "a scale that is no power of two, on the keys", "gpt", """
-        scores = q @ k.transpose(-2, -1)
-        scores = scores / math.sqrt(dim // HEADS)
+        scores = q @ (k * (1.0 / math.sqrt(dim // HEADS))).transpose(-2, -1)
""", both="""
-VOCABULARY, CONTEXT, DIM, HEADS, LAYERS = 29, 12, 16, 4, 2
+VOCABULARY, CONTEXT, DIM, HEADS, LAYERS = 29, 12, 18, 3, 2
"""),
]

CLEANS = BITWISE + [
    replace(case, id=case.id + "-told", verdict="rounding", cause="", options=("--rounding",))
    for case in BITWISE]
