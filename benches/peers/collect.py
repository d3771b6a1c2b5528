"""Python's side of the comparison of collection: forward hooks and the same reshape on the same model.

argv: the model file, the layers' paths joined by commas, batches, batch size, side, rounds. Prints a JSON object:
seconds from the start of the process to the first batch's embeddings, and for each round the seconds of the bare
forward passes, of those with hooks, and of those with hooks, reshape and copy.

torch.jit refuses hooks on loaded modules, so the model is the one that was exported, with the weights that were saved
beside it.
"""

import json
import os
import sys
import time
from pathlib import Path

import timm
import torch


def main():
    file, layers, batches, batch, side, rounds = sys.argv[1], sys.argv[2].split(","), *map(int, sys.argv[3:7])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model = timm.create_model("resnet18", pretrained=False).eval()
    model.load_state_dict(torch.load(Path(file).with_suffix(".pth"), weights_only=True))
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand((batch, 3, side, side), generator=generator) for _ in range(batches)]
    outputs = {}

    def listen():
        def hook(name):
            return lambda module, args, output: outputs.__setitem__(name, output)

        return [model.get_submodule(name).register_forward_hook(hook(name)) for name in layers]

    def embed():
        rows = []
        for name in layers:
            output = outputs[name]
            if output.dim() > 2:
                output = output.flatten(2).mean(2)
            rows.append(output.float().contiguous().cpu().numpy())
        return rows

    def bare(images):
        model(images)

    def all_of_it(images):
        model(images)
        return embed()

    def seconds(work, images, with_hooks):
        handles = listen() if with_hooks else []
        start = time.perf_counter()
        work(images)
        taken = time.perf_counter() - start
        for handle in handles:
            handle.remove()
        return taken

    ways = [("bare", bare, False), ("hooks", bare, True), ("all", all_of_it, True)]
    with torch.no_grad():
        handles = listen()
        first = all_of_it(inputs[0])
        to_first = time.time() - float(os.environ["TLC_STARTED_AT"])
        for handle in handles:
            handle.remove()
        assert all(row.shape[0] == batch for row in first)
        for _, work, with_hooks in ways:
            for _ in range(2):
                seconds(work, inputs[0], with_hooks)
        report = {name: [0.0] * rounds for name, _, _ in ways}
        # Every batch goes all ways before the next one does, each time in another order.
        for round in range(rounds):
            for turn, images in enumerate(inputs):
                for place in range(len(ways)):
                    name, work, with_hooks = ways[(place + turn + round) % len(ways)]
                    report[name][round] += seconds(work, images, with_hooks)
    report |= {"first_batch_secs": to_first, "version": f"torch {torch.__version__.split('+')[0]}"}
    print(json.dumps(report))


main()
