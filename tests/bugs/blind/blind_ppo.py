# SPDX-License-Identifier: Apache-2.0
"""PPO."""
import torch
from torch import nn
import torch.nn.functional as F
from torch.distributions import Categorical

torch.manual_seed(3)
ENVS, HORIZON, ITERS, EPOCHS, MINIB = 4, 16, 3, 2, 32
GAMMA, LAM, CLIP = 0.97, 0.9, 0.01

class Env:
    """Balls on a line: observation 3 numbers, 3 actions, an end now and then, a limit of time."""
    def __init__(self, seed):
        self.g = torch.Generator().manual_seed(seed)
        self.reset()
    def reset(self):
        self.x = torch.randn(3, generator=self.g)
        self.t = 0
        return self.x
    def step(self, action):
        self.x = self.x * 0.9 + 0.2 * (action - 1) + 0.05 * torch.randn(3, generator=self.g)
        self.t += 1
        done = bool(self.x[0].abs() > 1.5)
        late = self.t >= 11
        return self.x, -self.x.pow(2).sum().item(), done, late

class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh())
        self.pi = nn.Linear(24, 3)
        self.v = nn.Linear(24, 1)
        nn.init.orthogonal_(self.pi.weight, 0.01)
        nn.init.zeros_(self.pi.bias)
    def forward(self, obs):
        h = self.body(obs)
        return Categorical(logits=self.pi(h)), self.v(h).squeeze(-1)

agent = Agent()
opt = torch.optim.Adam(agent.parameters(), lr=3e-3, eps=1e-5)
envs = [Env(50 + i) for i in range(ENVS)]
obs = torch.stack([e.x for e in envs])
last = 0.0
for it in range(ITERS):
    frac = 1.0 - it / ITERS
    opt.param_groups[0]["lr"] = frac * 3e-3
    O, A, LP, R, D, VAL = [], [], [], [], [], []
    for t in range(HORIZON):
        with torch.no_grad():
            dist, value = agent(obs)
            action = dist.sample()
        O.append(obs); A.append(action); LP.append(dist.log_prob(action)); VAL.append(value)
        nxt, rew, end = [], [], []
        for e, a in zip(envs, action.tolist()):
            x, r, done, late = e.step(a)
            if late and not done:
                with torch.no_grad():
                    r += GAMMA * agent(x[None])[1].item()
            if done or late:
                x = e.reset()
            nxt.append(x); rew.append(r); end.append(float(done or late))
        obs = torch.stack(nxt)
        R.append(torch.tensor(rew)); D.append(torch.tensor(end))
    with torch.no_grad():
        _, bootstrap = agent(obs)
    adv, running = [None] * HORIZON, torch.zeros(ENVS)
    for t in reversed(range(HORIZON)):
        following = bootstrap if t == HORIZON - 1 else VAL[t + 1]
        alive = 1.0 - D[t]
        delta = R[t] + GAMMA * following * alive - VAL[t]
        running = delta + GAMMA * LAM * alive * running
        adv[t] = running
    adv = torch.stack(adv)
    returns = adv + torch.stack(VAL)
    fo, fa, flp = torch.cat(O), torch.cat(A), torch.cat(LP)
    fadv, fret, fval = adv.reshape(-1), returns.reshape(-1), torch.cat(VAL)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(fo))
        for k in range(0, len(fo), MINIB):
            idx = order[k:k + MINIB]
            dist, value = agent(fo[idx])
            ratio = (dist.log_prob(fa[idx]) - flp[idx]).exp()
            a = fadv[idx]
            a = (a - a.mean()) / (a.std() + 1e-8)
            pg = -torch.min(ratio * a, ratio.clamp(1 - CLIP, 1 + CLIP) * a).mean()
            vl = 0.5 * (value - fret[idx]).pow(2).mean()
            ent = dist.entropy().mean()
            loss = pg + 0.5 * vl - 0.01 * ent
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            opt.step()
            last = loss.item()
print("BITS", sum(p.double().abs().sum().item() for p in agent.parameters()).hex(), last.hex())
