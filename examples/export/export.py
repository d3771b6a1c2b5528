"""Exports models of timm, and the sentence transformer MiniLM, to TorchScript, with what Python's forward hooks see.

Usage: python export.py FOLDER [MODEL ...]

Each model becomes MODEL.pt (traced) and MODEL_scripted.pt, each with an .npz of the same name: the inputs (`input`, or
`input|NAME` where the model takes several), the names of named_modules(), and what each layer that returns a tensor
returned last, as `layer|0|`. MODEL.pth holds the weights alone, for Python. Weights are random, except MiniLM's; pass
`--pretrained` for those that timm downloads.
"""

import argparse
from pathlib import Path

import numpy as np
import timm
import torch

import sentences

MINILM = "minilm"
MODELS = ["resnet18", "vit_tiny_patch16_224", "efficientnet_b0", "convnext_atto", MINILM]
TEXTS = ["A short one.", "Hooks see what every layer of a transformer returns, also behind an attention mask."]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--pretrained", action="store_true")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    for name in args.models:
        model, inputs = with_inputs(name, args.pretrained)
        seen = what_hooks_see(model, inputs)
        names = "\n".join(path for path, _ in model.named_modules())
        arrays = {f"input|{key}" if len(inputs) > 1 else "input": tensor.numpy() for key, tensor in inputs.items()}
        arrays["names"] = np.frombuffer(names.encode(), dtype=np.uint8).astype(np.int64)
        with torch.no_grad():
            traced = torch.jit.trace(model, tuple(inputs.values()))
            files = {name: traced, f"{name}_scripted": torch.jit.script(model)}
        for file, exported in files.items():
            exported.save(str(args.folder / f"{file}.pt"))
            np.savez(args.folder / f"{file}.npz", **arrays, **seen)
        torch.save(model.state_dict(), args.folder / f"{name}.pth")
        print(f"{name}: {len(names.splitlines())} modules, {len(seen)} layers")


def with_inputs(name, pretrained):
    """The model, and inputs by the names of its parameters, in their order."""
    if name == MINILM:
        return sentences.minilm(), sentences.tokenize(TEXTS)
    model = timm.create_model(name, pretrained=pretrained).eval()
    return model, {"x": torch.randn(2, *model.default_cfg["input_size"])}


def what_hooks_see(model, inputs):
    seen = {}

    def listen(path):
        def hook(_module, _inputs, output):
            if isinstance(output, torch.Tensor):
                seen[f"{path}|0|"] = output.detach().clone().numpy()

        return hook

    handles = [module.register_forward_hook(listen(path)) for path, module in model.named_modules()]
    with torch.no_grad():
        model(**inputs)
    for handle in handles:
        handle.remove()
    return seen


if __name__ == "__main__":
    main()
