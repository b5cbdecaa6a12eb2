"""A causal model small enough to be trained while one waits: Llama's shape over the tokens of the small language."""

from __future__ import annotations

from typing import Any

from ._grammar import TEXTS, WORDS

_SPECIAL = ("<pad>", "<end>", "<unknown>")


def tiny_tokenizer() -> Any:
    """One token for each word of an instruction and each fragment of a program: a ``PreTrainedTokenizerFast``."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate((*_SPECIAL, *WORDS, *TEXTS))}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<end>", unk_token="<unknown>", padding_side="left"
    )


def tiny_model(tokenizer: Any, seed: int, *, width: int = 160, layers: int = 4) -> Any:
    """A ``LlamaForCausalLM`` with fresh weights: 1.3 million parameters as it stands."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


__all__ = ["tiny_model", "tiny_tokenizer"]
