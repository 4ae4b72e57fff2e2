"""Rewards in the form that trainers take: TRL, verl, and columns of `datasets`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import RewardModel, _completion, grade, grade_all

RewardFunction = Callable[..., "list[float | None]"]


def trl_reward(
    model: RewardModel,
    aggregation: str | None = None,
    *,
    eos_token_id: int | None = None,
    name: str = "gratis",
) -> RewardFunction:
    """A reward function for TRL's ``reward_funcs``, for plain and for conversational data.

    With ``eos_token_id``, the policy's end of turn, a completion that does not end with it counts
    as cut off, and is scored without an end of turn. A completion that exceeds the reward model's
    context has no reward (``None``, which TRL leaves out) if the model was opened with
    ``on_overlong="skip"``.
    """

    def reward(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **_: Any,
    ) -> list[float | None]:
        reasons: list[str | None] | None = None
        if eos_token_id is not None and completion_ids is not None:
            reasons = [
                "stop" if len(ids) > 0 and ids[-1] == eos_token_id else "length"
                for ids in completion_ids
            ]
        rewards = model.reward(prompts, completions, aggregation, finish_reasons=reasons)
        return [None if math.isnan(value) else value for value in rewards]

    reward.__name__ = name
    return reward


def trl_grade(
    column: str = "reference", *, strict: bool = False, name: str = "correctness"
) -> RewardFunction:
    """A reward function for TRL that compares final answers with a column of the data set.

    The reward is 1 for a correct answer and 0 otherwise, ``None`` without a gold answer.
    """

    def reward(
        prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        if column not in columns:
            raise ValueError(f"the data set has no column `{column}` with the gold answers")
        return [
            float(grade(str(gold), _completion(text), strict).correct) if _is_known(gold) else None
            for gold, text in zip(columns[column], completions, strict=True)
        ]

    reward.__name__ = name
    return reward


def verl_compute_score(
    model: RewardModel | None = None,
    *,
    problem_key: str = "question",
    weight: float = 1.0,
    aggregation: str | None = None,
    strict: bool = False,
) -> Callable[..., dict[str, Any]]:
    """A ``compute_score`` for verl's ``custom_reward_function``.

    The score is 1 for a correct final answer, plus ``weight`` times the reward of ``model`` if one
    is given; the problem is then ``extra_info[problem_key]``.
    """

    def compute_score(
        data_source: str,
        solution_str: str,
        ground_truth: Any,
        extra_info: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        verdict = grade(str(ground_truth), solution_str, strict)
        score = float(verdict.correct)
        result: dict[str, Any] = {"score": score, "acc": score, "verdict": verdict.verdict}
        if model is not None:
            if not extra_info or problem_key not in extra_info:
                raise ValueError(f"`extra_info` has no `{problem_key}` with the problem")
            reward = model.reward([extra_info[problem_key]], [solution_str], aggregation)[0]
            result["reward"] = reward
            result["score"] = score + weight * reward
        return result

    return compute_score


def grade_columns(
    reference: str = "reference", completions: str = "completions", *, strict: bool = False
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function for ``datasets.Dataset.map`` that adds ``correctness``, ``extracted`` and ``how``.

    The labels of a row without a gold answer are null.
    """

    def add(row: Mapping[str, Any]) -> dict[str, Any]:
        gold, texts = row[reference], [_completion(text) for text in row[completions]]
        if not _is_known(gold):
            return {name: [None] * len(texts) for name in ("correctness", "extracted", "how")}
        grades = grade_all([str(gold)] * len(texts), texts, strict)
        return {
            "correctness": [own.correct for own in grades],
            "extracted": [own.extracted for own in grades],
            "how": [own.how for own in grades],
        }

    return add


def _is_known(gold: Any) -> bool:
    return gold is not None and bool(str(gold).strip())
