"""Tests of the module; `test.sh` runs them with the wheel in a fresh environment."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import gratis


@pytest.fixture(scope="module")
def model(folder):
    return gratis.RewardModel(folder / "model", reference=folder / "reference", threads=1)


def rows(folder, name):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def columns(folder):
    rollouts = rows(folder, "candidates.jsonl")
    return [row["prompt"] for row in rollouts], [row["completions"] for row in rollouts]


def test_scores_equal_the_command_lines(folder, model):
    scores, lines = model.score(*columns(folder)), rows(folder, "scores.jsonl")
    assert len(lines) > 32  # more than one chunk
    for own, line in zip(scores, lines, strict=True):
        for score, expected in zip(own, line["scores"], strict=True):
            assert score.outcome == expected["outcome"] and score.hash == expected["hash"]
            for name in ["steps", "q_values", "step_ends", "tokens", "token_ids", "token_step_ends"]:
                assert getattr(score, name).tolist() == expected[name], name
            assert score.steps.dtype == np.float64 and score.token_ids.dtype == np.uint32
            assert len(score.steps) == 2 and len(score.tokens) == len(score.token_ids)
            assert score.reward == score.steps.min() and score.by("q_last") == score.q_values[-1]


def test_arrays_own_the_memory_of_the_scores(folder, model):
    problems, candidates = columns(folder)
    score = model.score(problems[:1], candidates[:1])[0][0]
    # The base of the array is the native list, not another array; asking twice gives one array.
    assert score.tokens.base is not None and not isinstance(score.tokens.base, np.ndarray)
    assert score.tokens is score.tokens and score.tokens.flags.writeable


def test_other_threads_run_while_scores_are_computed(folder, model):
    problems, candidates = columns(folder)
    threads, results = [], [None] * 3
    count, done = 0, threading.Event()

    def work(idx):
        results[idx] = model.score(problems * 6, candidates * 6)

    for idx in range(3):
        threads.append(threading.Thread(target=work, args=(idx,)))
    before = time.perf_counter()
    model.score(problems * 6, candidates * 6)
    alone = time.perf_counter() - before
    [thread.start() for thread in threads]
    longest, last = 0.0, time.perf_counter()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.0005)
        now = time.perf_counter()
        longest, last, count = max(longest, now - last), now, count + 1
    outcomes = [[score.outcome for own in result for score in own] for result in results]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    # With the interpreter held, this thread would wait for a whole call.
    assert count > 10 and longest < 3 * alone


def test_a_trained_run_opens_by_its_folder(folder):
    model = gratis.RewardModel(folder / "runs/prm", threads=1)
    assert model.kind == "implicit" and model.aggregation == "min" and model.context_length == 128
    assert "{prompt}" in model.template and repr(model).startswith("RewardModel(")
    other = gratis.RewardModel(folder / "runs/prm", aggregation="sum", beta=2 * model.beta, threads=1)
    problems, candidates = columns(folder)
    score, doubled = (m.score(problems[:1], candidates[:1])[0][0] for m in (model, other))
    assert doubled.reward == 2 * score.by("sum") != 0


def test_given_steps_ids_and_finish_reasons_are_used(folder, model):
    problems, candidates = columns(folder)
    problem, texts = problems[:1], candidates[0][:1]
    whole = model.score(problem, [texts])[0][0]
    cut = model.score(problem, [texts], finish_reasons=[["length"]])[0][0]
    assert len(cut.tokens) == len(whole.tokens) - 1  # no end of turn
    parts = [texts[0][:4], texts[0][4:9], texts[0][9:]]
    assert len(model.score(problem, [texts], steps=[[parts]])[0][0].steps) == 3
    ids = whole.token_ids.tolist()
    again = model.score(problem, [texts], token_ids=[[ids]])[0][0]
    assert again.token_ids.tolist() == ids and again.outcome == whole.outcome


def test_messages_are_texts(folder, model):
    problems, candidates = columns(folder)
    plain = model.reward(problems[:2], [own[0] for own in candidates[:2]])
    message = [{"role": "user", "content": [{"type": "text", "text": problems[0]}]}]
    answer = [{"role": "assistant", "content": candidates[0][0]}]
    assert model.reward([message, problems[1]], [answer, candidates[1][0]]) == plain
    with pytest.raises(gratis.GratisError, match="earlier messages"):
        model.reward([[{"role": "system", "content": "Be brief."}, *message]], [answer])


def test_selection_takes_the_highest_reward(folder, model):
    problems, candidates = columns(folder)
    scores = model.score(problems, candidates)
    best = gratis.select(scores, aggregation="min")
    assert best == [int(np.argmax([score.by("min") for score in own])) for own in scores]
    assert gratis.select(scores, candidates=candidates, method="majority") == [0] * len(scores)
    texts = [["It is 3.", "It is 4.", "It is 4.0."]] * len(scores)
    three = [[own[0], own[0], own[1]] for own in scores]
    assert gratis.select(three, candidates=texts, method="weighted_vote") == [1] * len(scores)
    assert gratis.select([[]]) == [None]
    with pytest.raises(gratis.GratisError, match="`min`"):
        gratis.select(scores, aggregation="median")


def test_errors_have_the_message_and_hint_of_the_command_line(folder):
    with pytest.raises(gratis.GratisError) as raised:
        gratis.RewardModel(folder / "model")
    assert "names its reference" in raised.value.message and "--reference" in raised.value.hint
    assert str(raised.value) == f"{raised.value.message}\nhint: {raised.value.hint}"
    for path, setting in [("nothing/at/all", {}), ("model", {"kind": "unknown"}), ("model", {"weights": "?"})]:
        with pytest.raises(gratis.GratisError):
            gratis.RewardModel(folder / path, reference="none", **setting)
    model = gratis.RewardModel(folder / "model", reference="none", threads=1)
    with pytest.raises(gratis.GratisError, match="tokens") as raised:
        model.score(["p"], [["word " * 500]])
    assert raised.value.hint


def test_problems_and_candidates_are_checked(model):
    with pytest.raises(TypeError):
        model.score("one problem", [["a"]])
    with pytest.raises(TypeError):
        model.score(["p"], ["a"])
    with pytest.raises(ValueError, match="2 entries for 1 problems"):
        model.score(["p"], [["a"], ["b"]])
    with pytest.raises(ValueError, match="1 entries for 2 candidates"):
        model.score(["p"], [["a", "b"]], finish_reasons=[["stop"]])
    with pytest.raises(ValueError, match="finish reason"):
        model.score(["p"], [["a"]], finish_reasons=[["eos"]])


def test_grades():
    grade = gratis.grade("1/2", "The answer is \\boxed{0.5}")
    assert grade and grade.verdict == "correct" and grade.how == "boxed" and grade.extracted == "0.5"
    assert gratis.grade("5", "I do not know.").verdict == "no_answer"
    assert gratis.grade("5", "It is \\boxed{5").how == "malformed"
    assert gratis.grade("1/3", "0.333") and not gratis.grade("1/3", "0.333", strict=True)
    assert gratis.grade_all(["1", "2"], ["1", "1"]) == [gratis.grade("1", "1"), gratis.grade("2", "1")]
    with pytest.raises(ValueError):
        gratis.grade_all(["1"], [])


def test_the_example_of_the_readme_runs(folder, monkeypatch, capsys):
    readme = Path(__file__).parent.parent / "README.md"
    if not readme.exists():
        pytest.skip("README.md is not beside the tests; test.sh puts it there")
    example = readme.read_text().split("```python\n")[1].split("```")[0]
    assert "gratis.RewardModel(\"runs/prm\")" in example
    monkeypatch.chdir(folder)
    exec(compile(example, "README.md", "exec"), {})
    assert "correct" in capsys.readouterr().out
