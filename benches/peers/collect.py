"""Python's side of the comparison of collection: forward hooks and the same reshape on the same model.

argv: the model file, the layers' paths joined by commas, batches, batch size, side, rounds. Prints a JSON object:
seconds from the start of the process to the first batch's embeddings, and for each round the seconds of the bare
forward passes, of those with hooks, and of those with hooks, reshape and copy.
"""

import json
import os
import sys
import time

import torch


def main():
    file, layers, batches, batch, side, rounds = sys.argv[1], sys.argv[2].split(","), *map(int, sys.argv[3:7])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model = torch.jit.load(file).eval()
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand((batch, 3, side, side), generator=generator) for _ in range(batches)]
    # torch.jit refuses hooks on loaded modules, so the hooked model is the one that was exported.
    import timm

    hooked = timm.create_model("resnet18", pretrained=False).eval()
    hooked.load_state_dict(model.state_dict())
    outputs = {}

    def listen():
        def hook(name):
            return lambda module, args, output: outputs.__setitem__(name, output)

        return [hooked.get_submodule(name).register_forward_hook(hook(name)) for name in layers]

    def embed():
        rows = []
        for name in layers:
            output = outputs[name]
            if output.dim() > 2:
                output = output.flatten(2).mean(2)
            rows.append(output.float().contiguous().cpu().numpy())
        return rows

    with torch.no_grad():
        handles = listen()
        hooked(inputs[0])
        first = embed()
        started_at = float(os.environ["TLC_STARTED_AT"])
        to_first = time.time() - started_at
        for handle in handles:
            handle.remove()
        assert all(row.shape[0] == batch for row in first)
        report = {"first_batch_secs": to_first, "bare": [], "hooks": [], "all": [], "rows": [r.shape for r in first]}
        for _ in range(rounds):
            start = time.perf_counter()
            for images in inputs:
                hooked(images)
            report["bare"].append(time.perf_counter() - start)
            handles = listen()
            start = time.perf_counter()
            for images in inputs:
                hooked(images)
            report["hooks"].append(time.perf_counter() - start)
            start = time.perf_counter()
            for images in inputs:
                hooked(images)
                embed()
            report["all"].append(time.perf_counter() - start)
            for handle in handles:
                handle.remove()
    report["version"] = f"torch {torch.__version__.split('+')[0]}"
    print(json.dumps(report))


main()
