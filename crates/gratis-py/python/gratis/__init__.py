"""Implicit process reward models: score, select and grade.

>>> import gratis
>>> gratis.grade("1/2", "The answer is \\\\boxed{0.5}").verdict
'correct'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import _native
from ._native import Grade, GratisError, Score, grade, grade_all

__version__: str = _native.__version__
__all__ = [
    "Grade",
    "GratisError",
    "RewardModel",
    "Score",
    "grade",
    "grade_all",
    "select",
]


def _content(message: Mapping[str, Any]) -> str:
    """The text of a message, whose content may be a list of parts."""
    content = message["content"]
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content or []]
    if any(part is None for part in parts):
        raise ValueError("only text can be scored: a message has parts of other types")
    return "".join(str(part) for part in parts)


def _problem(problem: Any) -> tuple[list[tuple[str, str]], str]:
    """A problem as the messages before it and its text."""
    if isinstance(problem, str):
        return [], problem
    messages = [(str(message["role"]), _content(message)) for message in problem]
    if not messages or messages[-1][0] != "user":
        raise ValueError("the last message of a problem must have the role `user`")
    return messages[:-1], messages[-1][1]


def _completion(completion: Any) -> str:
    """A candidate as text: a string, a message, or a list of one message."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Mapping):
        return _content(completion)
    if len(completion) != 1:
        raise ValueError("a candidate must be a text or a single message")
    return _content(completion[0])


class RewardModel(_native.RewardModel):
    """A reward model of any kind that ``gratis score --model`` opens.

    ``path`` is a model folder, run folder or adapter folder, a GGUF file, an engine that runs
    elsewhere (``vllm://HOST:PORT/NAME``), or ``org/name`` on a hub (needs ``huggingface_hub``).
    Settings that are not given are read from the model's ``gratis.json``; they have the names of
    the flags of ``gratis score``. ``reference="none"`` scores by log-probabilities alone.
    """

    def score(
        self,
        problems: Sequence[Any],
        candidates: Sequence[Sequence[Any]],
        *,
        steps: Sequence[Sequence[Sequence[str] | None]] | None = None,
        token_ids: Sequence[Sequence[Sequence[int] | None]] | None = None,
        finish_reasons: Sequence[Sequence[str | None]] | None = None,
    ) -> list[list[Score]]:
        """Scores the candidates of each problem.

        A problem is a text or a list of messages, a candidate a text or a message. ``steps`` are
        parts of the candidates, ``token_ids`` the tokens as a policy with the same tokenizer sampled
        them, ``finish_reasons`` are ``stop`` or ``length``; all have one entry per candidate.
        Other Python threads run in the meantime.
        """
        if isinstance(problems, str):
            raise TypeError("`problems` must be a list of problems, got a single text")
        n = len(problems)
        lengths = {"candidates": candidates, "steps": steps, "token_ids": token_ids}
        lengths["finish_reasons"] = finish_reasons
        for name, given in lengths.items():
            if given is not None and len(given) != n:
                raise ValueError(f"`{name}` has {len(given)} entries for {n} problems")
        items = []
        for idx, (problem, own) in enumerate(zip(problems, candidates)):
            if isinstance(own, str):
                raise TypeError(f"the candidates of problem {idx} must be a list, got a text")
            texts = [_completion(text) for text in own]
            columns: list[Sequence[Any]] = [texts]
            for name in ("steps", "token_ids", "finish_reasons"):
                given = lengths[name]
                column: Sequence[Any] = [None] * len(own) if given is None else given[idx]
                if len(column) != len(own):
                    raise ValueError(
                        f"`{name}` of problem {idx} has {len(column)} entries for {len(own)} candidates"
                    )
                columns.append(column)
            items.append((*_problem(problem), list(zip(*columns))))
        return self._score(items)

    def reward(
        self,
        problems: Sequence[Any],
        completions: Sequence[Any],
        aggregation: str | None = None,
        *,
        finish_reasons: Sequence[str | None] | None = None,
    ) -> list[float]:
        """One reward per pair of a problem and its completion.

        Equal problems share their prompt, wherever they stand. A completion that exceeds the
        context has the reward NaN, if ``on_overlong`` lets it pass.
        """
        n = len(problems)
        reasons = [None] * n if finish_reasons is None else finish_reasons
        if len(completions) != n or len(reasons) != n:
            raise ValueError(
                f"{n} problems, but {len(completions)} completions and {len(reasons)} finish reasons"
            )
        groups: dict[Any, list[int]] = {}
        for idx, problem in enumerate(problems):
            context, prompt = _problem(problem)
            groups.setdefault((tuple(context), prompt), []).append(idx)
        scores = self.score(
            [problems[indices[0]] for indices in groups.values()],
            [[completions[idx] for idx in indices] for indices in groups.values()],
            finish_reasons=[[reasons[idx] for idx in indices] for indices in groups.values()],
        )
        rewards = [0.0] * n
        for indices, scored in zip(groups.values(), scores):
            for idx, score in zip(indices, scored):
                rewards[idx] = score.reward if aggregation is None else score.by(aggregation)
        return rewards


def select(
    scores: Sequence[Sequence[Score]],
    aggregation: str | None = None,
    *,
    candidates: Sequence[Sequence[Any]] | None = None,
    method: str = "best_of_n",
) -> list[int | None]:
    """The index of the selected candidate per problem; ``None`` for a problem without any.

    ``best_of_n`` selects the highest reward, the first of equals. ``weighted_vote`` selects the
    answer with the greatest sum of ``sigmoid(reward)``, ``majority`` the most frequent one; both
    read the texts of the ``candidates``.
    """

    def rewards(own: Iterable[Score]) -> list[float]:
        return [score.reward if aggregation is None else score.by(aggregation) for score in own]

    if method == "best_of_n":
        return [_native.best_of_n(rewards(own)) for own in scores]
    if method not in ("weighted_vote", "majority"):
        raise ValueError(
            f"`method` must be `best_of_n`, `weighted_vote` or `majority`, got `{method}`"
        )
    if candidates is None:
        raise ValueError(f"`{method}` requires the texts of the `candidates`")
    chosen = []
    for own, texts in zip(scores, candidates, strict=True):
        weights = rewards(own) if method == "weighted_vote" else None
        chosen.append(_native.vote([_completion(text) for text in texts], weights))
    return chosen
