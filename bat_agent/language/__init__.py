"""Language models as one file: GGUF of the Llama family, turned once into a folder that transformers reads.

    bat-agent llm get smollm2-135m       # or FILE.gguf; reasoners take either by the same name: llm=smollm2-135m

:mod:`.store` finds a model and keeps what was converted, :mod:`.conversion` converts and tries it out, and
:mod:`.gguf_header` reads what a file says of itself. A folder or a hub id is none of this room's business.
"""

from __future__ import annotations

from bat_agent.language.known import KNOWN
from bat_agent.language.store import check_name, converted_folder

__all__ = ["KNOWN", "check_name", "converted_folder"]
