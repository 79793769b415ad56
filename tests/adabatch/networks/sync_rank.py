"""One rank of `test_batch_norm`: python sync_rank.py RANK FOLDER, with the cases in FOLDER/cases.pt."""

import sys
from pathlib import Path

import torch
from torch import distributed, nn

from adabatch.networks import build_network
from adabatch.networks.batch_norm_mode import set_batch_norm_mode


def normalize(case: dict, rank: int) -> dict:
    """Two training forwards and one backward of this rank's part of the batch."""
    plain = nn.BatchNorm2d(3, momentum=case["momentum"]).double()
    plain.load_state_dict(case["state"])
    norm = set_batch_norm_mode(plain, "sync", 32)
    start = sum(case["split"][:rank])
    part = slice(start, start + case["split"][rank])
    maps = case["maps"][part].clone().requires_grad_()
    norm(maps.detach() * 2)
    output = norm(maps)
    (output * case["cotangent"][part]).sum().backward()
    return {
        "output": output.detach(),
        "maps_gradient": maps.grad,
        "gradients": [parameter.grad for parameter in norm.parameters()],
        "state": norm.state_dict(),
    }


def train_network(case: dict, rank: int) -> list[torch.Tensor | None]:
    """The gradients of a network of which this rank sees its part of the batch."""
    torch.manual_seed(0)
    network = build_network("tiny_cnn", 1, 4, 8).double().to(memory_format=torch.channels_last)
    set_batch_norm_mode(network, "sync", 32)
    start = sum(case["split"][:rank])
    part = slice(start, start + case["split"][rank])
    nn.functional.cross_entropy(network(case["images"][part]), case["labels"][part], reduction="sum").backward()
    return [parameter.grad for parameter in network.parameters()]


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    cases = torch.load(folder / "cases.pt", weights_only=True)
    results = {
        "norms": [normalize(case, rank) for case in cases["norms"]],
        "networks": [train_network(case, rank) for case in cases["networks"]],
    }
    torch.save(results, folder / f"rank{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
