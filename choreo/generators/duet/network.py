"""Networks that make a follower's next frame: the source document's with its errors mended, and one for both roles."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from choreo.generators.duet.config import DuetNetworkConfig, DuetStatistics
from choreo.generators.duet.graphs import BODY, RELATION
from choreo.models.causal import CausalDecoderLayer, Positions
from choreo.models.pose_vae import SIX, from_six, posed
from choreo.models.posterior import Posterior
from choreo.models.sequence_vae import SequenceVae
from choreo.motion.pose_states import STATE
from choreo.motion.skeleton import L_HIP, L_SHOULDER, NUM_JOINTS, R_HIP, R_SHOULDER


@dataclass(frozen=True)
class Seen:
    """What a network sees of a couple, normalised.

    Attributes:
        leader: (B, W, 66) of the body of the given dancer, ahead of the follower's frame by 1 + the look-ahead.
        follower: (B, W, 66) of the body of the other one; 0 where it is not known.
        states: (B, W, 136) of the follower, and whether it is known.
        relation: (B, W, 70) between the two in the same frame; 0 where it is not known.
        role: (B, 1).
    """

    leader: Tensor
    follower: Tensor
    states: Tensor
    relation: Tensor
    role: Tensor


class DuetFollower(nn.Module):
    """States to come of a follower, from the leader and the follower's own past.

    What is learned is the change of a state in units of the usual change, so that a network that knows nothing stands
    still; before the dance, where nothing is known, it is the distance from the mean state.
    """

    body_mean: Tensor
    body_std: Tensor
    state_mean: Tensor
    state_std: Tensor
    relation_mean: Tensor
    relation_std: Tensor
    step_std: Tensor

    def __init__(self, config: DuetNetworkConfig, statistics: DuetStatistics) -> None:
        super().__init__()
        self.config = config
        for name, values in statistics:
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)
        self.core: VaeCore | PairCore = VaeCore(config) if config.kind == "vae" else PairCore(config)

    def forward(self, leader: Tensor, states: Tensor, known: Tensor, role: Tensor, noise: Tensor) -> Tensor:
        """The state (B, 135) after the last one; arguments as in `duet_spec`."""
        return self.every(leader, states, known, role, noise)[0][:, -1]

    def every(
        self, leader: Tensor, states: Tensor, known: Tensor, role: Tensor, noise: Tensor
    ) -> tuple[Tensor, list[Posterior]]:
        """The states (B, W, 135) after each one, and the posteriors of the latents; arguments as in `duet_spec`."""
        states = torch.where(known > 0, states, self.state_mean)
        change, posteriors = self.core(self.seen(leader, states, known, role), noise)
        scale = torch.where(known > 0, self.step_std, self.state_std)
        return states + change * scale, posteriors

    def seen(self, leader: Tensor, states: Tensor, known: Tensor, role: Tensor) -> Seen:
        """Leader and follower as the networks see them."""
        given, own = leader.unflatten(2, (NUM_JOINTS, 3)), joints_of(states)
        now, ahead = given[:, : states.shape[1]], given[:, 1 + self.config.look_ahead :]
        body = (body_of(own) - self.body_mean) / self.body_std * known
        relation = (relation_of(now, own) - self.relation_mean) / self.relation_std * known
        state = torch.cat([(states - self.state_mean) / self.state_std * known, known], dim=2)
        return Seen((body_of(ahead) - self.body_mean) / self.body_std, body, state, relation, role)


class VaeCore(nn.Module):
    """The source document's network: VAE 1 and 2 for the two dancers, VAE 3 for what is between them.

    The transformer decoder's target is the dancer's own sequence, its memory the sum of what the given dancer's VAE and
    VAE 3 decode to.
    """

    def __init__(self, config: DuetNetworkConfig) -> None:
        super().__init__()
        sizes = (config.width, config.heads, config.latent, config.units)
        self.first, self.second = SequenceVae(BODY, BODY, *sizes), SequenceVae(BODY, BODY, *sizes)
        self.between = SequenceVae(RELATION, BODY, *sizes)
        self.target, self.memory = nn.Linear(STATE + 1, config.width), nn.Linear(BODY, config.width)
        self.positions = Positions(config.width)
        self.layers = _layers(config)
        self.output = _output(config)

    def forward(self, seen: Seen, noise: Tensor) -> tuple[Tensor, list[Posterior]]:
        """Normalised changes (B, W, 135) and the posteriors."""
        of_dancer, of_both = noise.chunk(2, dim=2)
        first, of_first = self.first(seen.leader, of_dancer)
        second, of_second = self.second(seen.leader, of_dancer)
        between, of_between = self.between(seen.relation, of_both)
        given = torch.where(seen.role[:, :, None] > 0, second, first)
        x, memory = self.positions(self.target(seen.states)), self.positions(self.memory(given + between))
        for layer in self.layers:
            x = layer(x, memory)
        return self.output(x), [of_first, of_second, of_between]


class PairCore(nn.Module):
    """One network for both dancers: equal weights see the body of either, and each attends to the other.

    The role has no effect: the network makes the dancer who is not given, leader or follower.
    """

    def __init__(self, config: DuetNetworkConfig) -> None:
        super().__init__()
        self.body, self.state = nn.Linear(BODY, config.width), nn.Linear(STATE + 1, config.width)
        self.relation, self.noise = nn.Linear(RELATION, config.width), nn.Linear(2 * config.latent, config.width)
        self.positions = Positions(config.width)
        self.layers = _layers(config)
        self.output = _output(config)

    def forward(self, seen: Seen, noise: Tensor) -> tuple[Tensor, list[Posterior]]:
        """Normalised changes (B, W, 135) and no posteriors."""
        own = self.positions(self.body(seen.follower) + self.state(seen.states) + self.noise(noise))
        other = self.positions(self.body(seen.leader) + self.relation(seen.relation))
        for layer in self.layers:
            own, other = layer(own, other), layer(other, own)
        return self.output(own), []


def joints_of(states: Tensor) -> Tensor:
    """Positions (B, T, 22, 3) of states (B, T, 135)."""
    rotations = from_six(states[..., 3:].unflatten(-1, (NUM_JOINTS, SIX)))
    return posed(rotations.flatten(0, 1)).unflatten(0, states.shape[:2]) + states[..., None, :3]


def body_of(joints: Tensor) -> Tensor:
    """The root's place and the joints relative to it, (..., 66) of joints (..., 22, 3)."""
    root = joints[..., :1, :]
    return torch.cat([root, joints[..., 1:, :] - root], dim=-2).flatten(-2)


def relation_of(leader: Tensor, follower: Tensor) -> Tensor:
    """What is between two dancers (..., 70) of joints (..., 22, 3), with its direction.

    The difference of their bodies, and the follower's place and turn as the leader sees them.
    """
    apart = follower[..., 0, :] - leader[..., 0, :]
    ours, theirs = facing(leader), facing(follower)
    seen = torch.stack(
        [
            ours[..., 1] * apart[..., 0] - ours[..., 0] * apart[..., 2],
            ours[..., 0] * apart[..., 0] + ours[..., 1] * apart[..., 2],
            (ours * theirs).sum(-1),
            ours[..., 1] * theirs[..., 0] - ours[..., 0] * theirs[..., 1],
        ],
        dim=-1,
    )
    return torch.cat([body_of(follower) - body_of(leader), seen], dim=-1)


def facing(joints: Tensor) -> Tensor:
    """Unit vectors (..., 2), x and z, of the direction that dancers face."""
    across = joints[..., L_HIP, :] - joints[..., R_HIP, :] + joints[..., L_SHOULDER, :] - joints[..., R_SHOULDER, :]
    facing = torch.stack([-across[..., 2], across[..., 0]], dim=-1)
    return facing / facing.norm(dim=-1, keepdim=True).clamp(min=1e-4)


def _layers(config: DuetNetworkConfig) -> nn.ModuleList:
    return nn.ModuleList(
        CausalDecoderLayer(config.width, config.heads, config.feed_forward, config.dropout)
        for _ in range(config.layers)
    )


def _output(config: DuetNetworkConfig) -> nn.Module:
    last = nn.Linear(config.width, STATE)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.LayerNorm(config.width), last)
