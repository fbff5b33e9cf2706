"""Small programs in the manner of well-known tutorials, run with numgrad and with PyTorch: they print the same."""

import copy
import math

import pytest

import numgrad as ng

torch = pytest.importorskip("torch")


def language_model(T, note):
    """An LSTM with tied weights, truncated backpropagation through time, clipped gradients, and a resumed checkpoint."""
    nn, F = T.nn, T.nn.functional

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Embedding(9, 8)
            self.rnn = nn.LSTM(8, 8, 2, dropout=0.2)
            self.decoder = nn.Linear(8, 9)
            self.decoder.weight = self.encoder.weight

        def forward(self, x, hidden):
            out, hidden = self.rnn(self.encoder(x), hidden)
            return F.log_softmax(self.decoder(out).view(-1, 9), dim=1), hidden

    data = T.arange(80).remainder(9).view(4, -1).t().contiguous()
    model = Model()
    note(str(model), list(model.state_dict()), len(list(model.parameters())))
    for _ in range(2):
        hidden = tuple(next(model.parameters()).new_zeros(2, 4, 8) for _ in "hc")
        for i in range(0, len(data) - 1, 7):
            length = min(7, len(data) - 1 - i)
            hidden = tuple(h.detach() for h in hidden)
            model.zero_grad()
            out, hidden = model(data[i : i + length], hidden)
            loss = F.nll_loss(out, data[i + 1 : i + 1 + length].reshape(-1))
            loss.backward()
            note(loss.item(), nn.utils.clip_grad_norm_(model.parameters(), 0.25).item())
            for p in model.parameters():
                p.data.add_(p.grad, alpha=-5.0)
        other = Model()
        note(str(other.load_state_dict(model.state_dict())), other.decoder.weight is other.encoder.weight)
        model = other
    word, hidden, words = T.zeros(1, 1, dtype=T.long), tuple(T.zeros(2, 1, 8) for _ in range(2)), []
    with T.no_grad():
        for _ in range(5):
            out, hidden = model(word, hidden)
            word.fill_(T.multinomial(out.squeeze().exp(), 1)[0])
            words.append(word.item())
    note(words)


def masked_tokens(T, note):
    """A transformer encoder, batches first, with dropout and padding, weight decay for some parameters, a warm-up."""
    nn, F = T.nn, T.nn.functional
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, "gelu", batch_first=True)
    model = nn.ModuleDict({
        "tokens": nn.Embedding(12, 8, padding_idx=0), "encoder": nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        "head": nn.Linear(8, 12),
    })  # fmt: skip
    decayed = {True: [], False: []}
    for p in model.parameters():
        decayed[p.ndim > 1].append(p)
    groups = [{"params": decayed[True], "weight_decay": 0.01}, {"params": decayed[False], "weight_decay": 0.0}]
    optimizer = T.optim.AdamW(groups, lr=1e-2)
    schedule = T.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 3))
    tokens = T.randint(1, 12, (5, 6))
    tokens[T.arange(6) >= T.tensor([6, 4, 6, 3, 5])[:, None]] = 0
    for _ in range(4):
        hidden = T.bernoulli(T.full(tokens.shape, 0.4)).bool() & (tokens != 0)
        found = model["head"](model["encoder"](model["tokens"](tokens.masked_fill(hidden, 11)), src_key_padding_mask=tokens == 0))
        loss = F.cross_entropy(found[hidden], tokens[hidden], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        note(loss.item(), schedule.get_last_lr(), int(hidden.sum()))


def policy_gradient(T, note):
    """Proximal policy optimization with generalized advantages on a toy world."""
    nn = T.nn

    def layer(i, o, std):
        made = nn.Linear(i, o)
        nn.init.orthogonal_(made.weight, std)
        nn.init.constant_(made.bias, 0.0)
        return made

    actor = nn.Sequential(layer(3, 8, math.sqrt(2)), nn.Tanh(), layer(8, 2, 0.01))
    critic = nn.Sequential(layer(3, 8, math.sqrt(2)), nn.Tanh(), layer(8, 1, 1.0))
    optimizer = T.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-2, eps=1e-5)
    Categorical = T.distributions.Categorical
    state, steps = T.rand(4, 3), 6
    for _ in range(2):
        states, actions = T.zeros(steps, 4, 3), T.zeros(steps, 4)
        old, rewards, values = T.zeros(steps, 4), T.zeros(steps, 4), T.zeros(steps + 1, 4)
        with T.no_grad():
            for t in range(steps):
                policy = Categorical(logits=actor(state))
                action = policy.sample()
                states[t], actions[t], old[t], values[t] = state, action, policy.log_prob(action), critic(state).flatten()
                state = (state + 0.1 * (action.float()[:, None] - 0.5)).clamp(-1, 1)
                rewards[t] = 1 - state.abs().sum(1)
            values[steps] = critic(state).flatten()
            advantages, last = T.zeros_like(rewards), 0.0
            for t in reversed(range(steps)):
                advantages[t] = last = rewards[t] + 0.99 * values[t + 1] - values[t] + 0.9 * last
            returns = (advantages + values[:-1]).reshape(-1)
        for part in T.randperm(4 * steps).split(12):
            policy = Categorical(logits=actor(states.reshape(-1, 3)[part]))
            ratio = (policy.log_prob(actions.reshape(-1)[part]) - old.reshape(-1)[part]).exp()
            a = advantages.reshape(-1)[part]
            a = (a - a.mean()) / (a.std() + 1e-8)
            loss = -T.min(a * ratio, a * ratio.clamp(0.8, 1.2)).mean() - 0.01 * policy.entropy().mean()
            loss = loss + 0.5 * (critic(states.reshape(-1, 3)[part]).flatten() - returns[part]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(actor.parameters(), 0.5)
            optimizer.step()
            note(loss.item(), part.tolist()[:4])


def diffusion(T, note):
    """A denoiser with accumulated gradients, an average of its weights, a cosine schedule, and samples of it."""
    nn, F = T.nn, T.nn.functional
    steps = T.linspace(0, 20, 21) / 20
    kept = T.cos((steps + 0.008) / 1.008 * math.pi * 0.5) ** 2
    betas = T.clip(1 - kept[1:] / kept[:-1], 0, 0.999)
    kept = T.cumprod(1 - betas, dim=0)
    model = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 2))
    averaged = copy.deepcopy(model)
    optimizer = T.optim.Adam(model.parameters(), lr=1e-2)
    schedule = T.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4, eta_min=1e-4)
    points = T.stack([T.cos(T.arange(16.0)), T.sin(T.arange(16.0))], dim=1)

    def denoised(net, x, t):
        return net(T.cat([x, t[:, None] / 20], dim=1))

    for _ in range(4):
        for _ in range(2):
            t, noise = T.randint(0, 20, (16,)), T.randn_like(points)
            a = kept.gather(-1, t)[:, None]
            loss = F.l1_loss(denoised(model, a.sqrt() * points + (1 - a).sqrt() * noise, t), noise) / 2
            loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        for old, new in zip(averaged.parameters(), model.parameters()):
            old.data = old.data * 0.9 + (1 - 0.9) * new.data
        note(loss.item(), schedule.get_last_lr())
    with T.inference_mode():
        x = T.randn(3, 2)
        for k in reversed(range(3)):
            x = (x - denoised(averaged, x, T.full((3,), k)) * (1 - kept[k]).sqrt()).clamp_(-1.0, 1.0)
    note(x.tolist(), [p.requires_grad for p in averaged.parameters()])


def differential_equation(T, note):
    """A network that solves an equation: derivatives of its output with respect to its input are trained."""
    nn, grad = T.nn, T.autograd.grad
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    k = nn.Parameter(T.tensor([0.5]))
    optimizer = T.optim.Adam([*net.parameters(), k], 1e-2)
    for _ in range(4):
        t = T.linspace(0, 1, 9)[:, None].requires_grad_()
        u = net(t)
        du = grad(u.sum(), t, create_graph=True)[0]
        ddu = grad(du, t, grad_outputs=T.ones_like(du), create_graph=True)[0]
        loss = (ddu + k * du + u).pow(2).mean() + (u[0] - 1).square().squeeze()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        note(loss.item(), k.item(), t.grad.abs().sum().item())


def quantized(T, note):
    """Weights rounded to a few levels, by a function with a gradient of its own; a learned step size; hooks."""
    nn, F = T.nn, T.nn.functional

    class Rounded(T.autograd.Function):
        @staticmethod
        def forward(ctx, x, step, low, high):
            ctx.save_for_backward(x, step)
            ctx.range = low, high
            return T.round((x / step).clamp(low, high)) * step

        @staticmethod
        def backward(ctx, g):
            x, step = ctx.saved_tensors
            low, high = ctx.range
            q = x / step
            below, above = (q < low).float(), (q > high).float()
            inside = 1.0 - below - above
            return inside * g, ((below * low + above * high + inside * (q.round() - q)) * g).sum().unsqueeze(0), None, None

    class Layer(nn.Linear):
        def __init__(self, *sizes, bits):
            super().__init__(*sizes)
            self.bits = bits
            self.step = nn.Parameter(2 * self.weight.detach().abs().mean().reshape(1) / math.sqrt(2 ** (bits - 1) - 1))

        def forward(self, x):
            return F.linear(x, Rounded.apply(self.weight, self.step, -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1), self.bias)

        def extra_repr(self):
            return super().extra_repr() + f", bits={self.bits}"

    model = nn.Sequential(Layer(4, 8, bits=4), nn.Hardtanh(), Layer(8, 3, bits=3))
    note(str(model), [name for name, _ in model.named_parameters()])
    seen = []
    model[1].register_forward_hook(lambda module, given, out: seen.append((type(module).__name__, given[0].shape, out.max().item())))
    optimizer = T.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    x, y = T.randn(12, 4), T.arange(12) % 3
    for _ in range(4):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        note(loss.item(), model[0].step.item())
    note(seen, model[0](x).grad_fn is not None)


def graph(T, note):
    """A graph network on a list of edges: sums and maxima over neighbours, attention over them, means of the graphs."""
    nn, F = T.nn, T.nn.functional
    edges = T.randint(0, 10, (2, 30))
    src, dst = edges
    x, y, graphs = T.randn(10, 4), T.arange(10) % 2, T.tensor([0] * 4 + [1] * 6)
    lin, att, head = nn.Linear(4, 6, bias=False), nn.Parameter(T.randn(12)), nn.Linear(12, 2)
    optimizer = T.optim.Adam([*lin.parameters(), att, *head.parameters()], 1e-2)
    degree = T.zeros(10).scatter_add_(0, dst, T.ones(30))
    scale = degree.pow(-0.5)
    scale[scale == float("inf")] = 0
    note(degree.tolist(), T.bincount(graphs).tolist())
    for _ in range(4):
        h = lin(x)
        summed = T.zeros_like(h).index_add_(0, dst, (scale[src] * scale[dst]).view(-1, 1) * h[src])
        score = F.leaky_relu(T.cat([h[src], h[dst]], dim=1) @ att, 0.2)
        top = T.zeros(10).scatter_reduce(0, dst, score.detach(), "amax", include_self=False)
        weight = (score - top[dst]).exp()
        weight = weight / T.zeros(10).index_add(0, dst, weight)[dst]
        attended = T.zeros_like(h).index_add(0, dst, weight[:, None] * h[src])
        out = F.log_softmax(head(F.elu(T.cat([summed, attended], dim=1))), dim=-1)
        pooled = T.zeros(2, 2).index_add(0, graphs, out) / T.bincount(graphs)[:, None]
        loss = F.nll_loss(out, y) + pooled.pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        note(loss.item(), (out.argmax(1) == y).float().mean().item())


def evolution(T, note):
    """Evolution strategies: no gradients, all parameters as one vector, ranks of rewards."""
    nn = T.nn
    policy = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))
    x = T.randn(20, 3)
    goal = x[:, :1] * x[:, 1:2]
    with T.no_grad():
        vector = nn.utils.parameters_to_vector(policy.parameters())
        for _ in range(3):
            noise, rewards = T.randn(4, vector.numel()), T.empty(8)
            for k in range(4):
                for side, sign in enumerate((1, -1)):
                    nn.utils.vector_to_parameters(vector + sign * 0.1 * noise[k], policy.parameters())
                    rewards[2 * k + side] = -(policy(x) - goal).square().mean()
            ranks = T.empty(8)
            ranks[rewards.argsort()] = T.linspace(-0.5, 0.5, 8)
            vector += ((ranks[0::2] - ranks[1::2])[:, None] * noise).mean(0)
            note(rewards.mean().item(), rewards.max().item(), vector.requires_grad)
    nn.utils.vector_to_parameters(vector, policy.parameters())
    note([(p.requires_grad, p.is_leaf) for p in policy.parameters()])


def super_resolution(T, note):
    """Convolutions and a pixel shuffle on random parts of a dataset; what loading a wrong state says."""
    nn, data = T.nn, T.utils.data

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 6, 3, 1, 1)
            self.norm = nn.BatchNorm2d(6)
            self.conv2 = nn.Conv2d(6, 4, 3, 1, 1, bias=False)
            self.shuffle = nn.PixelShuffle(2)
            nn.init.orthogonal_(self.conv1.weight, nn.init.calculate_gain("relu"))

        def forward(self, x):
            return self.shuffle(self.conv2(T.relu(self.norm(self.conv1(x)))))

    large = T.stack([T.sin(T.arange(12.0)[:, None] * 0.2 * k) * T.cos(T.arange(12.0) * 0.1 * k) for k in range(1, 11)])[:, None]
    small = T.nn.functional.avg_pool2d(large, 2)
    train, test = data.random_split(data.TensorDataset(small, large), [8, 2], generator=T.Generator().manual_seed(4))
    model = Net()
    optimizer = T.optim.Adam(model.parameters(), lr=1e-2)
    note(test.indices, sum(p.numel() for p in model.parameters()))
    for a, b in data.DataLoader(train, batch_size=4, shuffle=True):
        loss = nn.functional.mse_loss(model(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        note(loss.item(), model.norm.running_var.tolist(), int(model.norm.num_batches_tracked))
    model.eval()
    with T.no_grad():
        note(10 * math.log10(1 / nn.functional.mse_loss(model(test[:][0]), test[:][1]).item()), model(small).stride())
    state = model.state_dict()
    state["conv2.bias"] = T.zeros(4)
    del state["norm.weight"]
    found = model.load_state_dict(state, strict=False)
    note(found.missing_keys, found.unexpected_keys)
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "norm.weight"[^U]*Unexpected [^:]*: "conv2.bias"'):
        model.load_state_dict(state)


def meta_learning(T, note):
    """Steps of learning as a function that is differentiated; gradients for each sample."""
    nn, F, func = T.nn, T.nn.functional, T.func
    model = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
    parameters = dict(model.named_parameters())
    optimizer = T.optim.Adam(model.parameters(), 1e-2)

    def loss_of(p, x, y):
        return F.mse_loss(func.functional_call(model, (p, {}), (x,)), y)

    for _ in range(3):
        amplitude, phase = T.rand(2).tolist()
        x = T.rand(2, 6, 1) * 4 - 2
        y = (1 + amplitude) * T.sin(x - phase)
        fast = {k: parameters[k] - 0.1 * g for k, g in func.grad(loss_of)(parameters, x[0], y[0]).items()}
        loss = loss_of(fast, x[1], y[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        note(loss.item())
    plain = {k: p.detach() for k, p in parameters.items()}
    each = func.vmap(func.grad(loss_of), in_dims=(None, 0, 0))(plain, x[0], y[0])
    note({k: tuple(g.shape) for k, g in each.items()}, each["2.weight"].mean(0).tolist())


PROGRAMS = (
    language_model, masked_tokens, policy_gradient, diffusion, differential_equation, quantized, graph, evolution,
    super_resolution, meta_learning,
)  # fmt: skip


def assert_alike(ours, theirs, where):
    if isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5), where
    elif isinstance(theirs, (list, tuple)):
        assert type(ours).__name__ == type(theirs).__name__ and len(ours) == len(theirs), where
        for a, b in zip(ours, theirs):
            assert_alike(a, b, where)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        assert_alike(list(ours.values()), list(theirs.values()), where)
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs_print_the_same(program):
    traces = []
    for T in (ng, torch):
        trace: list = []
        T.manual_seed(3)
        program(T, lambda *found, trace=trace: trace.extend(found))
        trace.append(T.rand(1).item())  # as many random numbers were drawn
        traces.append(trace)
    assert len(traces[1]) > 3
    for k, (ours, theirs) in enumerate(zip(*traces, strict=True)):
        assert_alike(ours, theirs, f"entry {k}: {ours} and {theirs}")
