# SPDX-License-Identifier: Apache-2.0
"""Two graph nets."""
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(31)
N, FEAT, H, CLASSES = 60, 10, 16, 4
g = torch.Generator().manual_seed(5)
feat = torch.rand(N, FEAT, generator=g)
src = torch.randint(0, N, (200,), generator=g)
dst = torch.randint(0, N, (200,), generator=g)
y = (feat[:, :CLASSES].argmax(1) + torch.randint(0, 2, (N,), generator=g)) % CLASSES
perm = torch.randperm(N, generator=g)
train_idx, val_idx, test_idx = perm[:30], perm[30:42], perm[42:]

edges = torch.cat([torch.stack([src, dst]), torch.stack([dst, src])], 1)
edges = torch.unique(edges, dim=1)
loops = torch.arange(N).repeat(2, 1)
edges = edges[:, edges[0] != edges[1]]
edges = torch.cat([edges, loops], 1)
deg = torch.zeros(N).index_add_(0, edges[1], torch.ones(edges.shape[1]))
norm = (deg[edges[0]] * deg[edges[1]]).rsqrt()

class GCN(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.lin = nn.Linear(i, o, bias=False)
        self.bias = nn.Parameter(torch.zeros(o))
        nn.init.xavier_uniform_(self.lin.weight)
    def forward(self, x):
        x = self.lin(x)
        m = x[edges[0]] * norm[:, None]
        return torch.zeros_like(x).index_add_(0, edges[1], m) + self.bias

class GAT(nn.Module):
    def __init__(self, i, o, heads=2):
        super().__init__()
        self.h, self.o = heads, o
        self.lin = nn.Linear(i, heads * o, bias=False)
        self.a_src = nn.Parameter(torch.randn(heads, o) * 0.1)
        self.a_dst = nn.Parameter(torch.randn(heads, o) * 0.1)
        self.drop = nn.Dropout(0.3)
    def forward(self, x):
        x = self.lin(x).view(N, self.h, self.o)
        s = (x * self.a_src).sum(-1)[edges[0]] + (x * self.a_dst).sum(-1)[edges[1]]
        s = F.leaky_relu(s, 0.2)
        top = torch.full((N, self.h), -1e30).scatter_reduce(0, edges[1][:, None].expand(-1, self.h), s, "amax")
        e = (s - top.detach()[edges[1]]).exp()
        z = torch.zeros(N, self.h).index_add(0, edges[1], e)
        a = self.drop(e / (z[edges[1]] + 1e-16))
        return torch.zeros_like(x).index_add(0, edges[1], a[..., None] * x[edges[0]]).flatten(1)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.g1, self.g2 = GCN(FEAT, H), GAT(H, 8)
        self.bn = nn.BatchNorm1d(H)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(16, CLASSES)
    def forward(self, x):
        x = F.elu(self.bn(self.g1(x)))
        x = F.elu(self.g2(self.drop(x)))
        return self.out(self.drop(x))

feat = feat / feat.sum(1, keepdim=True)
net = Net()
opt = torch.optim.Adam([{"params": net.g1.parameters(), "weight_decay": 5e-4},
    {"params": [*net.g2.parameters(), *net.bn.parameters(), *net.out.parameters()]}], lr=0.01)
best, keep, last = 0.0, None, 0.0
for epoch in range(14):
    net.train()
    opt.zero_grad()
    out = net(feat)
    loss = F.cross_entropy(out[train_idx], y[train_idx], label_smoothing=0.1)
    loss.backward()
    opt.step()
    last = loss.item()
    if epoch % 4 == 3:
        net.eval()
        with torch.no_grad():
            acc = (net(feat).argmax(1)[val_idx] == y[val_idx]).float().mean().item()
        if acc >= best:
            best, keep = acc, {k: v.clone() for k, v in net.state_dict().items()}
net.load_state_dict(keep)
net.eval()
with torch.no_grad():
    test = (net(feat).argmax(1)[test_idx] == y[test_idx]).float().mean().item()
print("BITS", sum(p.double().abs().sum().item() for p in net.parameters()).hex(), last.hex(), test)
