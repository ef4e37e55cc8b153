"""Processes that train one model together, each on a GPU and on clips of its own, as `torchrun` starts them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """This process among all of them; alone, it does nothing.

    Attributes:
        rank: of this one, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> tuple[Group, torch.device]:
        """The group that `torchrun` started, if it did, and this process's device of the same kind."""
        size = int(os.environ.get("WORLD_SIZE", 1))
        if size == 1:
            return cls(), device
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(int(os.environ["RANK"]), size), device

    def leave(self) -> None:
        """The last thing that a process does: in a group it ends here.

        Not by way of the interpreter's end, as gloo's threads may still be giving tensors back to it then, which aborts
        the process (torch 2.15, Python 3.11).
        """
        if self.size == 1:
            return
        dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def average(self, tensors: list[Tensor]) -> None:
        """Replace tensors, of the same shapes in all processes, by their means."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])

    def same(self, numbers: Tensor) -> Tensor:
        """The first process's numbers."""
        if self.size > 1:
            dist.broadcast(numbers, 0)
        return numbers

    def gather(self, numbers: Tensor) -> list[Tensor]:
        """Everybody's, in order of rank."""
        if self.size == 1:
            return [numbers]
        found = [torch.empty_like(numbers) for _ in range(self.size)]
        dist.all_gather(found, numbers)
        return found


ALONE = Group()
