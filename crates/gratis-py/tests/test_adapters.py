"""Tests of the adapters; those with `datasets` run where it is installed."""

import pytest

import gratis
from gratis.adapters import grade_columns, trl_grade, trl_reward, verl_compute_score

PROMPTS = ["1 and 2? "] * 2
COMPLETIONS = ["1 and 2 are 3.\n\nAnswer: 3", "Answer: 4"]


@pytest.fixture(scope="module")
def model(folder):
    return gratis.RewardModel(folder / "model", reference=folder / "reference", threads=1)


def test_trl_gets_a_number_per_completion(model):
    columns = {"completion_ids": [[5, 2], [5]], "trainer_state": None, "answer": ["3", None]}
    reward = trl_reward(model, "outcome", name="prm")
    plain = reward(prompts=PROMPTS, completions=COMPLETIONS, **columns)
    scores = model.score(PROMPTS[:1], [COMPLETIONS])[0]
    assert reward.__name__ == "prm" and plain == [score.outcome for score in scores]
    prompts = [[{"role": "user", "content": text}] for text in PROMPTS]
    messages = [[{"role": "assistant", "content": text}] for text in COMPLETIONS]
    assert reward(prompts=prompts, completions=messages, **columns) == plain
    # The second completion does not end with the end of turn.
    cut = trl_reward(model, "outcome", eos_token_id=2)(prompts=PROMPTS, completions=COMPLETIONS, **columns)
    reasons = [["stop", "length"]]
    expected = model.score(PROMPTS[:1], [COMPLETIONS], finish_reasons=reasons)[0]
    assert cut == [score.outcome for score in expected] and cut[0] == plain[0] != cut[1] != plain[1]


def test_trl_leaves_out_what_was_not_scored(folder):
    model = gratis.RewardModel(folder / "model", reference="none", on_overlong="skip", threads=1)
    rewards = trl_reward(model)(prompts=PROMPTS, completions=[COMPLETIONS[0], "word " * 500])
    assert rewards[0] is not None and rewards[1] is None


def test_trl_gets_grades_of_a_column():
    messages = [[{"role": "assistant", "content": text}] for text in COMPLETIONS]
    grade = trl_grade("answer")
    assert grade(prompts=PROMPTS, completions=messages, answer=["3", "5"]) == [1.0, 0.0]
    assert grade(prompts=PROMPTS, completions=COMPLETIONS, answer=["3", None]) == [1.0, None]
    with pytest.raises(ValueError, match="no column `answer`"):
        grade(prompts=PROMPTS, completions=COMPLETIONS)


def test_verl_gets_a_score_with_its_parts(model):
    # As verl's reward managers call it.
    call = {"data_source": "math", "ground_truth": "3", "extra_info": {"question": PROMPTS[0], "index": 0}}
    score = verl_compute_score(model, weight=0.5)(solution_str=COMPLETIONS[0], **call)
    assert score["acc"] == 1.0 and score["score"] == 1.0 + 0.5 * score["reward"]
    assert score["reward"] == model.reward(PROMPTS[:1], COMPLETIONS[:1])[0]
    graded = verl_compute_score()("math", COMPLETIONS[1], "3")
    assert graded == {"score": 0.0, "acc": 0.0, "verdict": "incorrect"}
    with pytest.raises(ValueError, match="`question`"):
        verl_compute_score(model)("math", COMPLETIONS[0], "3", {})


def test_columns_of_datasets_are_graded():
    row = {"reference": "3", "completions": COMPLETIONS}
    assert grade_columns()(row)["correctness"] == [True, False]
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list([row, {"reference": None, "completions": ["5"]}] * 3)
    for n_processes in (None, 2):
        graded = data.map(grade_columns(), num_proc=n_processes)
        assert graded["correctness"][:2] == [[True, False], [None]]
        assert graded["extracted"][0] == ["3", "4"] and graded["how"][0] == ["phrase", "phrase"]
