"""A transformers model out of a folder of this machine: no hub, no code of others, no pickle.

Called by the command line. Needs torch and transformers (extra ``activation``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memos_integrations.cube.errors import MissingExtra, UsageError
from memos_integrations.infrastructure.activation.model_folder import refuse_what_leads_out

try:
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ModuleNotFoundError as error:
    raise MissingExtra("a local model", "activation") from error


def load(folder: Path, *, tokenizer: Path | None = None) -> tuple[Any, Any]:
    """Model (for answering, not training) and tokenizer as they lie in ``folder``.

    Only safetensors are read and nothing is looked for elsewhere. Raises ``UsageError`` for a
    folder that holds none, or one whose files lead out of it: to a base model of an adapter, to
    code of its own or of a hub, to kernels of a quantisation, or to weights elsewhere.
    """
    words = folder if tokenizer is None else tokenizer
    for each in (folder, words):
        if not each.is_dir():
            raise UsageError(f"{each} is no folder; name one that save_pretrained has written")
        refuse_what_leads_out(each)
    given = {"local_files_only": True, "trust_remote_code": False}
    try:
        # None: torch's own, where the model has it, whatever the folder says.
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(folder), use_safetensors=True, dtype="auto", attn_implementation=None, **given
        )
        spoken: Any = AutoTokenizer.from_pretrained(str(words), **given)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UsageError(
            f"{folder} holds no model that can be loaded ({type(error).__name__}); it needs "
            "config.json, safetensors and a tokenizer"
        ) from error
    return model.eval(), spoken
