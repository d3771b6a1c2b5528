"""Exports models of timm to TorchScript, with what Python's forward hooks see in them.

Usage: python export.py FOLDER [MODEL ...]

Each model becomes MODEL.pt (traced) and MODEL_scripted.pt, each with an .npz of the same name: the input, the names of
named_modules(), and what each layer that returns a tensor returned last, as `layer|0|`. Weights are random; pass
`--pretrained` for those that timm downloads.
"""

import argparse
from pathlib import Path

import numpy as np
import timm
import torch

MODELS = ["resnet18", "vit_tiny_patch16_224", "efficientnet_b0", "convnext_atto"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--pretrained", action="store_true")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    for name in args.models:
        model = timm.create_model(name, pretrained=args.pretrained).eval()
        example = torch.randn(2, *model.default_cfg["input_size"])
        seen = what_hooks_see(model, example)
        names = "\n".join(path for path, _ in model.named_modules())
        arrays = {"input": example.numpy(), "names": np.frombuffer(names.encode(), dtype=np.uint8).astype(np.int64)}
        with torch.no_grad():
            files = {name: torch.jit.trace(model, example), f"{name}_scripted": torch.jit.script(model)}
        for file, exported in files.items():
            exported.save(str(args.folder / f"{file}.pt"))
            np.savez(args.folder / f"{file}.npz", **arrays, **seen)
        print(f"{name}: {len(names.splitlines())} modules, {len(seen)} layers")


def what_hooks_see(model, example):
    seen = {}

    def listen(path):
        def hook(_module, _inputs, output):
            if isinstance(output, torch.Tensor):
                seen[f"{path}|0|"] = output.detach().clone().numpy()

        return hook

    handles = [module.register_forward_hook(listen(path)) for path, module in model.named_modules()]
    with torch.no_grad():
        model(example)
    for handle in handles:
        handle.remove()
    return seen


if __name__ == "__main__":
    main()
